"""Eyes and hands: frames of the screen, and the keyboard."""
