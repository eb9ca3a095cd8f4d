"""TFDV schemas (.pbtxt), their loader, their inference and their diff."""
