"""Spots and nuclei as they lie in the tissue, each with a scale bar: arrays -> axis."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.patches import Circle, Rectangle
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

from helpers.labels import counted
from helpers.schema import SPOT_PITCH_UM

BAR_UM = 1000.0
GLASS_UM = 500.0  # of the image shown beyond the outermost spots
DISC, OUTLINE, CROP = "#0033CC", "#00E5FF", "black"


def scale_bar(ax: Axes, mpp: float, um: float) -> Axes:
    """A bar of `um` micrometres in the lower right corner of an axis in pixels of `mpp` um."""
    label = f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} µm"
    height = abs(np.subtract(*ax.get_ylim())) / 120
    bar = AnchoredSizeBar(ax.transData, um / mpp, label, "lower right", pad=0.3, sep=3, size_vertical=height)
    bar.patch.set(alpha=0.8, edgecolor="none")
    ax.add_artist(bar)
    return ax


def bare(ax: Axes) -> None:
    """No frame and no ticks, both directions to the same scale."""
    ax.set(aspect="equal", xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def spot_map(
    ax: Axes,
    spatial: np.ndarray,
    values: np.ndarray,
    mpp: float,
    label: str,
    limits: tuple[float, float] | None = None,
    pitch_um: float = SPOT_PITCH_UM,
) -> Axes:
    """Values at spots as they lie in the tissue, y downwards; NaN is grey.

    `spatial` is n x 2 in pixels of `mpp` um. Discs are three quarters of `pitch_um`, the distance of neighbouring
    spots: larger than the spots, to be seen, and apart. `limits` are those of the colours, else the 1st and 99th
    percentile.
    """
    values = np.asarray(values, float)
    known = np.isfinite(values)
    lowest, highest = limits or (np.percentile(values[known], [1, 99]) if known.any() else (0, 1))
    size = np.full(len(values), 0.75 * pitch_um / mpp)
    discs = EllipseCollection(size, size, np.zeros(len(values)), units="xy", offsets=spatial, cmap="viridis")
    discs.set(array=np.ma.masked_invalid(values), offset_transform=ax.transData, clim=(lowest, highest), lw=0)
    discs.cmap = discs.cmap.with_extremes(bad="0.85")
    ax.add_collection(discs)
    margin = 1.5 * pitch_um / mpp
    (left, top), (right, bottom) = spatial.min(axis=0) - margin, spatial.max(axis=0) + margin
    ax.set(xlim=(left, right), ylim=(bottom + 2 * margin, top))  # room for the scale bar below the tissue
    bare(ax)
    ax.figure.colorbar(discs, cax=ax.inset_axes([1.02, 0.1, 0.035, 0.8]))
    ax.set_title(f"{label}\n{counted(len(values), 'spots')}")
    return scale_bar(ax, mpp, BAR_UM)


def outlines_on_tissue(
    ax: Axes,
    image: np.ndarray,
    outlines: Sequence[np.ndarray],
    mpp: float,
    um: float = 50.0,
    disc_um: float | None = None,
    crop_um: float | None = None,
) -> Axes:
    """Outlines of nuclei (each k x 2, x and y in the image's pixels) on an RGB image of `mpp` um/px.

    The bar is of `um` micrometres; `disc_um` and `crop_um` draw the disc of a spot in the middle of the image, and the
    square that describes it.
    """
    ax.imshow(image, interpolation="nearest")
    closed = [np.vstack([outline, outline[:1]]) for outline in outlines]
    ax.add_collection(LineCollection(closed, colors=OUTLINE, linewidths=1.1))
    height, width = image.shape[:2]
    middle = np.array([width - 1, height - 1]) / 2
    if disc_um is not None:
        ax.add_patch(Circle(middle, disc_um / mpp / 2, fill=False, edgecolor=DISC, lw=1.6))
    if crop_um is not None:
        side = crop_um / mpp
        ax.add_patch(Rectangle(middle - side / 2, side, side, fill=False, edgecolor=CROP, lw=1.0))
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    bare(ax)
    ax.set_title(f"{counted(len(outlines), 'outlines')} in view")
    return scale_bar(ax, mpp, um)


def spots_on_tissue(
    ax: Axes,
    image: np.ndarray,
    spatial: np.ndarray,
    mpp: float,
    diameter_um: float,
    crop_um: float | None = None,
    um: float = BAR_UM,
) -> Axes:
    """Spot discs, and the squares a model would see, on an image; `spatial` and `mpp` are in that image's pixels.

    The bar is of `um` micrometres.
    """
    ax.imshow(image)
    size = np.full(len(spatial), diameter_um / mpp)
    place = {"offsets": spatial, "offset_transform": ax.transData, "facecolors": "none"}
    ax.add_collection(EllipseCollection(size, size, 0 * size, units="xy", edgecolors=DISC, lw=0.8, **place))
    if crop_um is not None:
        half = crop_um / mpp / 2
        corners = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
        squares = np.asarray(spatial)[:, None, :] + corners
        ax.add_collection(LineCollection(squares, colors=CROP, linewidths=0.5, alpha=0.6))
    # The spots and a little around them: the glass beside the tissue shows nothing.
    edge = np.array(image.shape[1::-1]) - 0.5
    left, top = np.maximum(np.min(spatial, axis=0) - GLASS_UM / mpp, -0.5)
    right, bottom = np.minimum(np.max(spatial, axis=0) + GLASS_UM / mpp, edge)
    ax.set(xlim=(left, right), ylim=(bottom, top))
    bare(ax)
    ax.set_title(counted(len(spatial), "spots"))
    return scale_bar(ax, mpp, um)
