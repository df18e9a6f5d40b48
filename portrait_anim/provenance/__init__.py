"""Provenance: the visible label, the signed manifest, and the verification of any file."""
