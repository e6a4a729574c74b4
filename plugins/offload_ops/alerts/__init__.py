"""Who is notified of what about late, failing and halted tables.

`changes` decides what is new, `notification_log` records what was sent, `cause` finds the likely cause, and `message`
writes the text.
"""
