"""What can be sent to an endpoint: its address and its key, held against what HTTP allows before anything is asked."""

from urllib.parse import urlsplit

from ...errors import UserError


def check_address(url: str) -> None:
    """Refuse an address that no request could go to, or that is not the one before `/chat/completions`.

    Raises:
        UserError: it says what is wrong.
    """
    import httpx

    def refused(why: str) -> UserError:
        return UserError(f"--endpoint must be as https://host/v1, not {url!r}: {why}")

    if not url.isprintable() or any(character.isspace() for character in url):
        raise refused("it holds spaces or characters that cannot be sent")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise refused(str(error)) from None
    if parts.scheme not in ("http", "https"):
        local = f"; is http://{url} meant?" if "://" not in url else ""
        raise refused(f"it begins with neither http:// nor https://{local}")
    if not host or port == 0:
        raise refused("it names no host and port")
    if "@" in parts.netloc:
        raise refused("a name or password in it would be stored with the study; give a key by --api_key_variable")
    if parts.query or parts.fragment:
        raise refused("it ends with ? or #, and the path of the request is put behind it")
    for ending in ("/chat/completions", "/completions", "/models", "/responses"):
        if parts.path.rstrip("/").endswith(ending):
            raise refused(f"leave {ending} away, the path of the request is put behind it")


def check_key(key: str | None, variable: str) -> None:
    """Refuse a key that no header can hold. What it is stays out of the message.

    Raises:
        UserError: it says what is wrong.
    """
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        what = "a line break, a space or a control character" if key.isascii() else "characters that are not ASCII"
        raise UserError(f"the key in {variable} holds {what}, which no key does: set it again")
