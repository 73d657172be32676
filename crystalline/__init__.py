"""Train and run small language models on a tree of actors."""
