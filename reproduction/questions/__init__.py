"""Questions that the papers leave open: does the gap follow ghosts, updates, noise or distance?"""
