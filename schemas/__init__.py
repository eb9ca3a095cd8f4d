"""TFDV schemas (.pbtxt): their loader, their tags and their diff."""
