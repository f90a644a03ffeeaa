"""What every failing call of this package raises."""


class Error(RuntimeError):
    """The text is the one that the tools print; `code` is their exit code: 1 failed, 2 wrong usage,
    3 invalid file or arguments that do not fit, 4 unsupported."""

    def __init__(self, message: str, code: int = 1):
        super().__init__(message, code)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return self.message
