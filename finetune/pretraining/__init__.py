"""VideoMAE on the videos of an archive."""
