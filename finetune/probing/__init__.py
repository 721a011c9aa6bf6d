"""Classifiers on stored features."""
