"""Rollouts: a candidate version beside the champion, judged on the traffic that it gets."""
