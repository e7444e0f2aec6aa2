"""What the README claims, measured: each module prints a table and says how it was made."""
