"""How well a face can be recognised, before anyone is: its size, sharpness, pose."""

import dataclasses

import cv2
import numpy as np

# the five landmarks of a head in mm: x to the right (as seen), y down, z away from the camera
HEAD = np.array([[-32, -34, 0], [32, -34, 0], [0, 0, -26], [-25, 32, -6], [25, 32, -6]], np.float64)
SHARP = 60.0  # variance of the Laplacian of a 112-pixel crop at which sharpness counts half
EYES = 32.0  # pixels between the eyes from which on more do not help: as many as a crop of 112 has


@dataclasses.dataclass(frozen=True)
class Quality:
    """What is known of a face besides who it is.

    Attributes:
        eyes: Distance between the eyes, pixels of the photo; nan without landmarks.
        sharpness: Variance of the Laplacian of the crop's luminance.
        yaw: Degrees that the head is turned; nan without landmarks.
        pitch: Degrees that it is bent.
        roll: Degrees that it is tilted.
        score: The detector's.
        length: Of the embedding before it was divided by it, in parts of what is usual for the model: short for faces that it makes
            little of. 1 where nobody knows what is usual.
    """

    eyes: float
    sharpness: float
    yaw: float
    pitch: float
    roll: float
    score: float
    length: float = 1.0

    @property
    def value(self) -> float:
        """One number in [0, 1]: size × sharpness × pose × score × length², none above 1.

        Of all of these the length tells most: on 500 news photos its rank correlation with the cosine of two photos of a person was
        0.64, that of the others together 0.10.
        """
        size = 1.0 if np.isnan(self.eyes) else min(self.eyes / EYES, 1.0)
        turned = 1.0 if np.isnan(self.yaw) else np.cos(np.radians(self.yaw)) * np.cos(np.radians(self.pitch))
        return float(
            size
            * self.sharpness
            / (self.sharpness + SHARP)
            * max(turned, 0.0)
            * min(self.score, 1.0)
            * min(self.length, 1.0) ** 2
        )

    def told(self) -> str:
        """For people: what makes it good or poor, as far as it is known."""
        parts = {
            f"eyes {self.eyes:.0f} pixels apart": self.eyes, f"sharpness {self.sharpness:.0f}": self.sharpness,
            f"yaw {self.yaw:.0f}, pitch {self.pitch:.0f} degrees": self.yaw, f"detector {self.score:.2f}": self.score,
            f"length {self.length:.2f}": self.length,
        }  # fmt: skip
        return f"quality {self.value:.2f} ({', '.join(text for text, value in parts.items() if not np.isnan(value))})"


def measure(crop: np.ndarray, landmarks: np.ndarray, score: float) -> Quality:
    """Measures a face.

    Args:
        crop: Aligned, RGB uint8.
        landmarks: `(5, 2)` in the photo; nan where they are not known.
        score: The detector's.

    Returns:
        The measurements.
    """
    grey = cv2.cvtColor(cv2.resize(crop, (112, 112), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    sharpness = float(cv2.Laplacian(grey, cv2.CV_64F).var())
    if np.isnan(landmarks).any():
        nan = float("nan")
        return Quality(nan, sharpness, nan, nan, nan, float(score))
    eyes = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    return Quality(eyes, sharpness, *pose(landmarks), float(score))


def pose(landmarks: np.ndarray) -> tuple[float, float, float]:
    """Yaw, pitch and roll of a head in degrees, by the five points of a mean head under weak perspective.

    Args:
        landmarks: `(5, 2)` pixels.

    Returns:
        Yaw is positive where the nose points to the right (as seen), pitch where it points down, roll where the right eye is lower.
    """
    points = np.asarray(landmarks, np.float64)
    points = points - points.mean(axis=0)
    head = HEAD - HEAD.mean(axis=0)
    across, down = np.linalg.lstsq(head, points, rcond=None)[0].T
    scale = (np.linalg.norm(across) + np.linalg.norm(down)) / 2
    if scale < 1e-9:
        return (float("nan"),) * 3
    left, _, right = np.linalg.svd(np.stack([across, down]) / scale, full_matrices=False)
    rows = left @ right
    rotation = np.vstack([rows, np.cross(*rows)])
    pitch, yaw, roll = cv2.RQDecomp3x3(rotation)[0]
    return float(-yaw), float(pitch), float(roll)
