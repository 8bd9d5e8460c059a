"""Asking a question: plans, draws, journal, campaign."""
