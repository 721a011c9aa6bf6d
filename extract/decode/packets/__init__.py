"""What a packet is, without decoding it: one parser per codec family (`structure.py` lists them)."""
