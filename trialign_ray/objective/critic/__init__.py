"""Centralised critics: what one group's response is worth to all, learnt from logged games over several turns."""
