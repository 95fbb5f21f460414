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
        length: Of the embedding before it was divided by it: short for faces that the model makes little of.
    """

    eyes: float
    sharpness: float
    yaw: float
    pitch: float
    roll: float
    score: float
    length: float = float("nan")

    @property
    def value(self) -> float:
        """One number in [0, 1]: size × sharpness × pose × score."""
        size = 1.0 if np.isnan(self.eyes) else min(self.eyes / EYES, 1.0)
        turned = 1.0 if np.isnan(self.yaw) else np.cos(np.radians(self.yaw)) * np.cos(np.radians(self.pitch))
        return float(size * self.sharpness / (self.sharpness + SHARP) * max(turned, 0.0) * min(self.score, 1.0))

    def told(self) -> str:
        """For people: what is wrong with a poor one."""
        return (
            f"quality {self.value:.2f} (eyes {self.eyes:.0f} pixels apart, sharpness {self.sharpness:.0f}, yaw {self.yaw:.0f}, "
            f"pitch {self.pitch:.0f} degrees, detector {self.score:.2f})"
        )


def measure(crop: np.ndarray, landmarks: np.ndarray, score: float) -> Quality:
    """Measures a face.

    Args:
        crop: Aligned, RGB uint8.
        landmarks: `(5, 2)` in the photo; nan where they are not known.
        score: The detector's.
    """
    grey = cv2.cvtColor(cv2.resize(crop, (112, 112), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    sharpness = float(cv2.Laplacian(grey, cv2.CV_64F).var())
    if np.isnan(landmarks).any():
        return Quality(float("nan"), sharpness, *[float("nan")] * 3, float(score))
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
