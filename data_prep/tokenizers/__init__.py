"""Tokenizers, one a file; `base` holds what they have in common and builds them from a description."""
