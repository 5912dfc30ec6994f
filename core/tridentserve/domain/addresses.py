"""How a host and a port are written as one."""


def authority(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets (RFC 3986, section 3.2.2).

    >>> authority("10.0.0.7", 8500), authority("fd00::7", 8500)
    ('10.0.0.7:8500', '[fd00::7]:8500')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
