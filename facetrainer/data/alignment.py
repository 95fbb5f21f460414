"""Photo and landmarks → crop of the size and place that a model was trained on."""

import dataclasses

import cv2
import numpy as np

# left eye, right eye, nose, left and right corner of the mouth (as seen), in a crop of 112×112: InsightFace's template
ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])


@dataclasses.dataclass(frozen=True)
class Layout:
    """Size of a crop, and the five points in it; without points the detector's box, `margin` pixels wider, is the crop."""

    height: int
    width: int
    template: np.ndarray | None = None
    margin: int = 0

    def sized(self, height: int | None = None, width: int | None = None, margin: int | None = None) -> "Layout":
        """The same layout with crops of another size.

        Args:
            height: Of the crops; the points grow with it.
            width: Likewise.
            margin: Pixels around the detector's box, half on each side.

        Returns:
            The layout.

        Raises:
            ValueError: A margin is asked for where five points decide, or another shape than theirs.
        """
        height, width = height or self.height, width or self.width
        if self.template is None:
            return Layout(height, width, None, self.margin if margin is None else margin)
        if margin is not None:
            raise ValueError(
                "--margin widens the detector's box: use it with --layout facenet. Five points decide here."
            )
        if height * self.width != width * self.height:
            raise ValueError(
                f"expected a size of the layout's shape, {self.height}x{self.width}. Received: {height}x{width}"
            )
        return Layout(height, width, self.template * (height / self.height))

    def crop(
        self, image: np.ndarray, landmarks: np.ndarray | None, box: np.ndarray | None = None, smooth: bool = True
    ) -> np.ndarray:
        """RGB image, (5, 2) points, (4,) box x1 y1 x2 y2, in pixels → RGB uint8 crop; black beyond the image.

        `smooth` shrinks large faces before the warp, which would leave out pixels; InsightFace does not.

        Returns:
            RGB uint8 `(height, width, 3)`.
        """
        if self.template is None:
            return self._by_box(image, box)
        matrix = similarity(landmarks, self.template)
        scale = np.hypot(matrix[0, 0], matrix[1, 0])
        if smooth and scale < 0.5:
            small = cv2.resize(image, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA)
            ratio = np.array([small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]])
            image, matrix = small, similarity((landmarks + 0.5) * ratio - 0.5, self.template)
        return cv2.warpAffine(image, matrix, (self.width, self.height))

    def _by_box(self, image, box):
        if box is None:
            raise ValueError("this layout crops by the detector's box: landmarks alone do not give it. Use a detector.")
        low = np.maximum(box[:2] - self.margin / 2, 0).astype(int)
        high = np.minimum(box[2:] + self.margin / 2, image.shape[1::-1]).astype(int)
        part = image[low[1] : high[1], low[0] : high[0]]
        if part.size == 0:
            raise ValueError(f"the box {box.round().tolist()} lies outside the image of {image.shape[1::-1]}")
        shrinks = part.shape[0] > self.height
        return cv2.resize(
            part, (self.width, self.height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )


LAYOUTS = {
    "arcface": Layout(112, 112, ARCFACE),
    "sphereface": Layout(112, 96, ARCFACE - [8, 0]),
    "facenet": Layout(160, 160, None, 32),
}


def similarity(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(n, 2), (n, 2) → (2, 3): rotation, one scale and shift that bring `points` nearest to `target` in least squares.

    The plane's form of Umeyama, PAMI 1991, eq. 40–42: as complex numbers, target = a · point + b.

    Returns:
        float `(2, 3)`.

    Raises:
        ValueError: All points are one.
    """
    first, second = points[:, 0] + 1j * points[:, 1], target[:, 0] + 1j * target[:, 1]
    centred = first - first.mean()
    spread = np.vdot(centred, centred).real
    if not spread > 1e-6:
        raise ValueError(f"landmarks that lie on one point cannot be aligned. Received: {np.asarray(points).tolist()}")
    a = np.vdot(centred, second) / spread
    b = second.mean() - a * first.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def misalignment(landmarks: np.ndarray, shape: tuple[int, int], layout: Layout = LAYOUTS["arcface"]) -> float:
    """Mean distance of (5, 2) points in a crop of `shape` from where they belong, in parts of the eyes' distance."""
    expected = layout.template * [shape[1] / layout.width, shape[0] / layout.height]
    eyes = np.linalg.norm(expected[1] - expected[0])
    return float(np.linalg.norm(landmarks - expected, axis=1).mean() / eyes)
