"""The names of the features of grid worlds: what `features.py` and `events.py` compute, in order.

They stand apart because a search reads the events in an embedding without computing any.
"""

EVENT_NAMES = (
    *("stepped_on_block", "took_gold", "on_exit", "free_progress", "stayed"),
    *("entered_hazard", "took_lever", "moved"),
    *("exit_with_all_gold", "exit_gold_missing", "exit_with_lever"),
    *("exit_progress", "exit_progress_after_gold", "exit_progress_after_lever"),
    *("exit_progress_after_both", "gold_progress", "lever_progress", "hazards_passed"),
)
N_GOLD_DISTANCES = 50
FEATURE_NAMES = (
    *("agent_row", "agent_column"),
    *("nearest_gold_rows", "nearest_gold_cols", "nearest_gold_distance", "gold_left"),
    *("exit_rows", "exit_cols", "exit_distance"),
    *("wall_up", "wall_down", "wall_left", "wall_right"),
    *(f"gold_distance_{rank:02d}" for rank in range(1, N_GOLD_DISTANCES + 1)),
    *EVENT_NAMES,
    *("rows_moved", "columns_moved", "elapsed"),
)
EVENT_COLUMNS = slice(FEATURE_NAMES.index(EVENT_NAMES[0]), FEATURE_NAMES.index(EVENT_NAMES[-1]) + 1)
