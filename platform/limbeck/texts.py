"""What can be read as text."""


def is_whole(text: str) -> bool:
    """Say whether a text holds no half of a surrogate pair, which JSON can write and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
