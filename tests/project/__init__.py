"""Tests of the project itself: its layout, its imports, its words, its documents."""
