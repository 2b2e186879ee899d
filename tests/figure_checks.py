"""What the tests of figures ask about a drawn figure."""


def boxes(sheet, texts):
    """Where the texts that are not empty lie on the sheet."""
    renderer = sheet.canvas.get_renderer()
    return [text.get_window_extent(renderer) for text in texts if text.get_text().strip()]


def assert_apart(rectangles):
    for i, rectangle in enumerate(rectangles):
        assert not any(rectangle.overlaps(other) for other in rectangles[i + 1 :])


def texts_of(ax):
    return [text.get_text() for text in ax.texts]
