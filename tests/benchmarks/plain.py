"""What many would write first: Keras's tutorial on image classification, for class folders.

Compare its accuracy with that of `letterpress new`, on a folder with train/ and test/:

    python tests/benchmarks/plain.py FOLDER [EPOCHS] [grayscale]
"""

import sys
from pathlib import Path

import keras

folder, epochs = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 15
color = sys.argv[3] if len(sys.argv) > 3 else "rgb"
keras.utils.set_random_seed(1)
options = {"image_size": (64, 64), "color_mode": color, "batch_size": 32, "seed": 1}
train, validation = keras.utils.image_dataset_from_directory(
    folder / "train", validation_split=0.2, subset="both", **options
)
test = keras.utils.image_dataset_from_directory(folder / "test", shuffle=False, **options)
model = keras.Sequential(
    [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomRotation(0.1),
        keras.layers.RandomZoom(0.1),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(64, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Dropout(0.2),
        keras.layers.Flatten(),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(len(train.class_names)),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss, metrics=["accuracy"])
model.fit(train, validation_data=validation, epochs=epochs, verbose=2)
print(f"test accuracy {model.evaluate(test, verbose=0)[1]:.4f}")
