"""Behaviour: trajectories -> policy embedding -> predicted reward."""
