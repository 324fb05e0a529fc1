"""Results as text: leaderboards and tables for terminals, scripts, spreadsheets, web pages and papers."""

from limbeck.report.leaderboard import (
    LeaderboardRow,
    chosen,
    leaderboard,
    leaderboard_json,
    leaderboard_table,
    ranked,
    sweeps_json,
    sweeps_table,
    unconfirmed,
)
from limbeck.report.table import Cell, Column, Kind, Table, best_rows, show
from limbeck.report.writers import to_csv, to_json, to_latex, to_markdown, to_table, to_text

__all__ = [
    "Cell",
    "Column",
    "Kind",
    "LeaderboardRow",
    "Table",
    "best_rows",
    "chosen",
    "leaderboard",
    "leaderboard_json",
    "leaderboard_table",
    "ranked",
    "show",
    "sweeps_json",
    "sweeps_table",
    "to_csv",
    "to_json",
    "to_latex",
    "to_markdown",
    "to_table",
    "to_text",
    "unconfirmed",
]
