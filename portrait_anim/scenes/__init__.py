"""Scenes: a script of roles and shots, checked against all grants, rendered shot by shot, joined into one film."""
