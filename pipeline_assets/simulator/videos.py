"""Makes tiny MP4 files (H.264) in which a product moves through an ad.

Pure: the same description and length give a video of the same pictures.
"""

import io
from fractions import Fraction

import av
from PIL import Image, ImageDraw

from pipeline_assets.simulator.pictures import Picture, draw_product

FRAMES_PER_SECOND = 8
SIZE = (144, 256)
"""Width and height: a story's shape, as small as phones still show."""


def encode_video(picture: Picture, *, seconds: float) -> bytes:
    """An MP4 with one H.264 track of that length, FRAMES_PER_SECOND frames a second."""
    buffer = io.BytesIO()
    frame_count = round(seconds * FRAMES_PER_SECOND)
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, FRAMES_PER_SECOND)
        stream.thread_count = 1  # more threads would make the bytes depend on the machine
        stream.options = {"preset": "ultrafast", "crf": "32"}
        for place in range(frame_count):
            image = _frame(picture, place / frame_count)
            frame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
            frame.pts = place
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def _frame(picture: Picture, progress: float) -> Image.Image:
    """The picture at `progress` (0-1): the product rises and crosses, a bar shows the time."""
    background, accent, ink = picture.palette
    width, height = SIZE
    image = Image.new("RGB", SIZE, background if progress < 0.6 else accent)
    pen = ImageDraw.Draw(image)
    colour = accent if progress < 0.6 else background
    centre = (width * (0.2 + 0.6 * progress), height * (0.7 - 0.25 * progress))
    draw_product(pen, picture.shape, centre, width / 100, accent=colour, ink=ink)
    words = picture.headline.split()
    shown = " ".join(words[: 1 + int(progress * len(words))])
    pen.text((8, 16), shown[:22], fill=ink, font_size=13)
    pen.text((8, 34), shown[22:44], fill=ink, font_size=13)
    pen.rectangle((0, height - 6, width * progress, height), fill=ink)
    return image
