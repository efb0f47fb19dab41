"""Anyone's predictions -> a report card."""
