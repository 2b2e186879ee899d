"""What the tests of figures ask about a drawn figure."""

from matplotlib.text import Text


def boxes(sheet, texts):
    """Where the texts that are not empty lie on the sheet."""
    renderer = sheet.canvas.get_renderer()
    return [text.get_window_extent(renderer) for text in texts if text.get_text().strip()]


def assert_apart(rectangles):
    for i, rectangle in enumerate(rectangles):
        assert not any(rectangle.overlaps(other) for other in rectangles[i + 1 :])


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def assert_fits(sheet):
    """Every text lies inside the picture, and no two labels of an axis or two titles overlap."""
    sheet.canvas.draw()
    renderer = sheet.canvas.get_renderer()
    width, height = sheet.canvas.get_width_height()
    out_of_view = _out_of_view(sheet)
    for text in sheet.findobj(Text):
        if not text.get_visible() or not text.get_text().strip() or text in out_of_view:
            continue
        box = text.get_window_extent(renderer)
        inside = box.x0 > -1 and box.y0 > -1 and box.x1 < width + 1 and box.y1 < height + 1
        assert inside, f"{text.get_text()!r} runs out of the picture"
    shown = [ax for ax in sheet.axes if ax.axison]
    for ax in shown:
        for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
            assert_apart(boxes(sheet, [label for label in labels if label not in out_of_view]))
    assert_apart(boxes(sheet, [ax._left_title for ax in shown]))


def _out_of_view(sheet):
    """Labels of ticks beyond the ends of an axis, which matplotlib keeps and does not draw."""
    labels = set()
    for ax in sheet.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not ax.axison or not low - 1e-9 <= tick.get_loc() <= high + 1e-9:
                    labels |= {tick.label1, tick.label2}
    return labels
