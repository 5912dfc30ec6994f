"""Brings the programs that the local cluster and its tests need, and sets the project up.

Works with the standard library alone, on a machine that has nothing but Python 3.11: it is what
makes the virtual environment. Everything that it fetches or builds lies in the user's cache; the
system is changed only as root, and then by apt-get, and no service is ever started.

    from tridentserve_local.toolchain import tools
    tools.kubectl().argv("get", "pods")
"""
