"""A kubeconfig with one cluster, one user and one context."""

from pathlib import Path


def write(
    folder: Path, server: str, *, authority: str = "", user: str = "{}", namespace: str = ""
) -> Path:
    """Its path. `authority` is what stands for certificate-authority-data, `user` is YAML."""
    path = folder / "config"
    trust = f", certificate-authority-data: {authority}" if authority else ""
    where = f", namespace: {namespace}" if namespace else ""
    path.write_text(
        f"""
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: c, user: u{where}}}}}]
clusters: [{{name: c, cluster: {{server: "{server}"{trust}}}}}]
users: [{{name: u, user: {user}}}]
"""
    )
    return path
