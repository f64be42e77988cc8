"""The one exception that is addressed to the user."""


class UserError(Exception):
    """Something the user can put right; the message says what to type.

    Commands print the message to standard error and exit with status 1, without a traceback.
    """
