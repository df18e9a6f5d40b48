"""The consent service: people enrol from a phone, owners manage their cameos, remote workers ask before they render."""
