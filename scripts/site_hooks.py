"""What MkDocs calls when the site is built (`hooks` in mkdocs.yml)."""

from pathlib import Path


def on_post_build(config):
    """Removes the sitemap, which has no addresses: the site has no place of its own yet."""
    if not config.site_url:
        for path in Path(config.site_dir).glob("sitemap.xml*"):
            path.unlink()
