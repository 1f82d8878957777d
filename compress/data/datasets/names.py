"""Class names for CLIP prompts, where a dataset's own files have others.

Source: the class lists in the data notes of the CLIP paper (Radford et al., 2021), with spelling
corrected.
"""

from __future__ import annotations

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR100 = (
    "apple, aquarium fish, baby, bear, beaver, bed, bee, beetle, bicycle, bottle, bowl, boy, "
    "bridge, bus, butterfly, camel, can, castle, caterpillar, cattle, chair, chimpanzee, "
    "clock, cloud, cockroach, couch, crab, crocodile, cup, dinosaur, dolphin, elephant, "
    "flatfish, forest, fox, girl, hamster, house, kangaroo, keyboard, lamp, lawn mower, "
    "leopard, lion, lizard, lobster, man, maple tree, motorcycle, mountain, mouse, mushroom, "
    "oak tree, orange, orchid, otter, palm tree, pear, pickup truck, pine tree, plain, plate, "
    "poppy, porcupine, possum, rabbit, raccoon, ray, road, rocket, rose, sea, seal, shark, "
    "shrew, skunk, skyscraper, snail, snake, spider, squirrel, streetcar, sunflower, sweet "
    "pepper, table, tank, telephone, television, tiger, tractor, train, trout, tulip, turtle, "
    "wardrobe, whale, willow tree, wolf, woman, worm"
)
CIFAR100 = tuple(_CIFAR100.split(", "))
STL10 = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
SVHN = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")

# folder (WordNet id) -> name
IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chainsaw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}

# folder -> name
EUROSAT = {
    "AnnualCrop": "annual crop land",
    "Forest": "forest",
    "HerbaceousVegetation": "brushland or shrubland",
    "Highway": "highway or road",
    "Industrial": "industrial buildings",
    "Pasture": "pasture land",
    "PermanentCrop": "permanent crop land",
    "Residential": "residential buildings",
    "River": "river",
    "SeaLake": "lake or sea",
}

# the few names of torchvision's Flowers102.classes that do not fit into a sentence
FLOWERS = {
    "globe-flower": "globe flower",
    "pink-yellow dahlia?": "pink and yellow dahlia",
    "desert-rose": "desert rose",
}

# folder -> name where it is more than the folder with spaces for underscores
CALTECH101 = {
    "Faces": "off-center face",
    "Faces_easy": "centered face",
    "Leopards": "leopard",
    "Motorbikes": "motorbike",
    "airplanes": "airplane",
    "car_side": "side of a car",
    "cougar_body": "body of a cougar cat",
    "cougar_face": "face of a cougar cat",
    "crocodile_head": "head of a crocodile",
    "flamingo_head": "head of a flamingo",
    "snoopy": "snoopy (cartoon beagle)",
    "water_lilly": "water lily",  # misspelled on disk
    "yin_yang": "yin and yang symbol",
}

# folder -> name, of the datasets with several domains
PACS = {name: name for name in ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")}
VLCS = {name: name for name in ("bird", "car", "chair", "dog", "person")}
VISDA = {
    "aeroplane": "airplane",
    **{name: name for name in ("bicycle", "bus", "car", "horse", "knife", "motorcycle", "person")},
    **{name: name for name in ("plant", "skateboard", "train", "truck")},
}
IMAGECLEF = {
    "aeroplane": "airplane",
    "bike": "bicycle",
    **{name: name for name in ("bird", "boat", "bottle", "bus", "car", "dog", "horse")},
    **{name: name for name in ("monitor", "motorbike", "people")},
}
