"""Captions of an archive: read, checked, joined to stored features, parted by source."""
