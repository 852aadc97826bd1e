"""Plots with something out of the ordinary: a rescue, a wish, a race, a noise in the night, a treasure map.

The slots are those of `plots_alone`.
"""

from __future__ import annotations

from grammar import Story


def rescue(s: Story) -> None:
    """A hurt or trapped small animal is helped and later returns."""
    small, trouble, fix = s.absent(
        ("bird", "had a hurt wing", "put a soft cloth around its wing"),
        ("butterfly", "was caught in a spider web", "set it free with a thin stick"),
        ("kitten", "was stuck in a thorny bush", "pulled the thorns away one by one"),
        ("bee", "had fallen into a puddle", "gave it a leaf to climb on"),
        ("lamb", "had lost its mother", "led it back over the hill to its mother"),
    )
    s.slots |= {"small": small, "trouble": trouble, "fix": fix}
    s.say(
        "One day, {h} and {f} were walking {p.at}.",
        "One morning, {h} and {f} went {p.to}.",
        "One day, {h} and {f} were playing {p.at}.",
    )
    s.say("Suddenly {h} heard a tiny sound.", "Then {h} saw something small move.")
    s.say("It was a~{small}. It {trouble}.", "It was a small {small} that {trouble}.")
    s.say('"You poor little thing," said {h}.', '"Do not be afraid. I will help you," said {h}.')
    s.say("The {small} was afraid, but {h} was very gentle.", "{h} came closer, very slowly.")
    s.say("{h.he} {fix}.", "Carefully, {h.he} {fix}.")
    s.paragraph()
    s.say(
        '"Will it be all right?" asked {f}. "I think so," said {h}.',
        '"That was very kind of you," said {f}. "It only needs a little rest," said {h}.',
    )
    s.say(
        "Soon the {small} felt better and looked at {h} with bright eyes.", "After a while, the {small} was well again."
    )
    s.say("Then it went away, and {h} waved goodbye.", '"Goodbye, little {small}!" called {h}.')
    s.paragraph()
    s.say("Some days later, {h} got lost {q.at}.", "One week later, {h} lost {h.his} way {q.at}.")
    s.say(
        "{h.he} did not know which way to go, and it was getting dark.",
        '"Which way is home?" {h.he} asked, but nobody answered.',
    )
    s.say("Then {h.he} saw the {small} again!", "Suddenly the {small} was there!")
    s.say("It showed {h.him} the way home.", "It went ahead, and {h} followed it all the way home.")
    s.say('"Now you have helped me," said {h}. "Thank you!"', '"Thank you, little friend!" said {h}.')
    s.slots["moral"] = s.pick("when you help others, they will help you", "even the smallest friend can be a big help")


def wish(s: Story) -> None:
    """A magic thing grants one wish, and the hero spends it on somebody else."""
    magic = s.pick("magic stone", "golden fish", "tiny star", "silver feather", "magic lamp")
    s.slots["m"] = magic
    s.say("One day, {h} found a~{m} {p.at}.", "One evening, {h} saw something shine {p.at}. It was a~{m}.")
    s.say(
        '"You may have one wish," said the {m}. "But only one."',
        '"You have found me, so I will give you one wish," said the {m}.',
    )
    s.say("{h} could hardly believe it.", "{h} was so surprised that {h.he} sat down.")
    s.say(
        "What should {h.he} wish for? A mountain of candy? A~{x}?",
        "{h.he} thought of a~{x}, and of a castle, and of a hundred cakes.",
    )
    s.say('"I have to think about it," {h.he} said, and went home.', '"I must ask my friend first," {h.he} said.')
    s.paragraph()
    if s.chance(0.6):
        s.say("Then {h.he} went to see {f}. {f} was sick and lay in bed.", "But {f} was sick and lay in bed.")
        s.say('"I do not feel well, and nothing helps," said {f}.', '"I am so tired and weak," said {f}.')
        s.slots["want"] = s.fill("{f} to be well again")
        s.slots["done"] = s.fill("{f} jumped up and felt as strong as ever")
    else:
        s.say("On the way, {h.he} met {f}. {f} was crying.", "Then {h.he} saw {f}, who looked very sad.")
        s.say(
            '"The wind broke my home," said {f}. "Now I have no place to sleep."',
            '"My home is broken, and the night will be cold," said {f}.',
        )
        s.slots["want"] = s.fill("a new home for {f}")
        s.slots["done"] = "there stood a fine new home with a red door"
    s.say("{h} did not have to think any longer.", "Then {h} knew what to do.")
    s.say('"I wish for {want}," said {h}.', '{h} held the {m} and said, "I wish for {want}."')
    s.say("There was a flash of light, and {done}.", "The {m} glowed, and all at once {done}.")
    s.paragraph()
    s.say('"You gave me your only wish!" said {f}.', '"Why did you not wish for something for yourself?" asked {f}.')
    s.say('"A happy friend is all I need," said {h}.', '"Because you are my friend," said {h}.')
    s.say("They hugged each other for a long time.", "The {m} smiled and was gone.")
    s.slots["moral"] = "a kind heart is worth more than gold"


def race(s: Story) -> None:
    """A race that the hero loses or wins by stopping to help."""
    s.say("One day, there was a big race {p.at}.", "Every year there was a great race, and this time it was {p.at}.")
    s.say(
        "{h} wanted to win [the golden cup|the first prize|the blue ribbon] more than anything.",
        "{h} had practiced for many weeks.",
    )
    s.say('"I am the fastest. I will win," said {f}.', '"You will never win, {h.call}," said {f}.')
    s.say('"Ready, set, go!" called {g}, and everyone began to run.', "{g} rang a bell, and off they went.")
    s.paragraph()
    s.say("{h} ran as fast as {h.he} could.", "At first, {h} was the last one, but {h.he} did not give up.")
    s.say("Near {q}, {h.he} saw {f} on the ground.", "Then, near {q}, {f} tripped over a root and fell.")
    s.say('"My foot hurts. I cannot run," said {f}.', '"Ouch! Please help me," said {f}.')
    s.say("{h} could see the end of the race. {h.he} could win now!", "The others ran past and did not stop.")
    s.say("But {h} stopped.", "But {h} turned around and went back.")
    s.say('"Lean on me," said {h}. "We will go together."', '"Come, I will help you," said {h}.')
    s.say(
        "Slowly, step by step, they came to the finish together.",
        "They were the last ones to arrive, but they arrived together.",
    )
    s.paragraph()
    s.say("Everyone clapped and cheered.", "{g} had seen it all.")
    s.say(
        '"You did not win the race," said {g}. "But you won a friend."',
        '"{h.call} is the real winner today," said {g}.',
    )
    s.say("{f} gave {h} a big hug.", '"I am sorry that I was so proud. Thank you," said {f}.')
    s.slots["moral"] = "helping a friend is better than winning"


def noise(s: Story) -> None:
    """A strange noise frightens everyone until somebody looks."""
    small, sound = s.absent(("kitten", "scratch, scratch"), ("hungry little mouse", "crunch, crunch"),
                          ("lost puppy", "bump, bump"), ("baby owl", "hoo, hoo"), ("branch in the wind", "tap, tap"),
                          ("old tin can", "clang, clang"))  # fmt: skip
    s.slots |= {"small": small, "sound": sound}
    s.say(
        "One night, {h} heard a strange noise. It went {sound}.",
        "Late one evening, there was a strange noise: {sound}.",
    )
    s.say('"What was that?" whispered {h}.', "{h} sat up and listened.")
    s.say("There it was again: {sound}.", "Then it came again, a little louder.")
    s.say("{h} ran to wake up {f}.", "{h} went to get {f}.")
    s.say('"Maybe it is a monster!" said {f}.', '"I think it is a giant," said {f} in a small voice.')
    s.say('"There are no monsters," said {h}. "But let us look."', '"We have to look," said {h}. "Stay close to me."')
    s.paragraph()
    s.say("They took a lantern and went outside, step by step.", "Side by side, they walked through the dark.")
    s.say("The noise came from behind a big [bush|box|barrel|stone].", "The noise came from {p}.")
    s.say("{f} closed {f.his} eyes, but {h} looked.", "{h} held up the light and looked.")
    s.say("It was only a~{small}!", "And what did they see? It was a~{small}!")
    s.say("They both began to laugh.", '"So this is our monster!" said {h}, and they laughed.')
    if small in ("kitten", "hungry little mouse", "lost puppy", "baby owl"):
        s.slots["short"] = small.split()[-1]
        s.paragraph()
        s.say(
            "The {short} was cold and hungry, so they gave it some food.",
            "They took the {short} home and gave it warm milk.",
        )
        s.say("The {short} fell asleep in a basket.", "From then on, the {short} was their friend.")
        s.say(
            "After that night, {h} and {f} were never afraid of a noise again.",
            "{g} laughed too when {g.he} heard about it.",
        )
    else:
        s.paragraph()
        s.say("They put it away, and then it was quiet.", "They moved it to another place, and the noise was gone.")
        s.say(
            "In the morning, they told {g} about it, and {g} laughed too.",
            "Then they went back to bed and slept until morning.",
        )
    s.slots["moral"] = "many things are not scary when you look at them closely"


def treasure(s: Story) -> None:
    """A map leads to a chest, and the chest to something better than gold."""
    s.say("One day, {h} found an old map {p.at}.", "One rainy day, {h} found a map in an old box.")
    s.say("There was a big red cross on it.", "The map showed a path, a hill, and a big red cross.")
    s.say('"It must be a treasure map!" said {h}.', '"A treasure! I must tell {f}," said {h}.')
    s.say("{h} and {f} packed a bag and set off.", "Together with {f}, {h.he} followed the map.")
    s.paragraph()
    s.say("First, they came to {q}.", "The path led them past {q}.")
    s.say(
        "Then they had to cross a [wide stream|shaky bridge|field of tall grass].",
        "Then they climbed over a steep hill.",
    )
    s.say('"I am tired. Let us go home," said {f}.', '"I think we are lost," said {f}.')
    s.say(
        '"Only a little farther," said {h}, and gave {f} a piece of {h.his} bread.',
        '"We must not give up now," said {h}.',
    )
    s.say("At last, they found the place with the cross.", "Then they saw a stone with a red cross on it.")
    s.say("They dug and dug until they hit something hard.", "They dug a deep hole and found an old chest.")
    s.paragraph()
    s.say(
        "In the chest, there was no gold. There was a~{x} and a letter.", "Inside, there was only a~{x} and a letter."
    )
    s.say(
        '"The real treasure is the friend who came with you," said the letter.',
        'The letter said, "The best treasure is a good friend."',
    )
    s.say("{h} looked at {f}, and they both smiled.", '"That is true," said {h}, and hugged {f}.')
    s.say(
        "They took turns with the {x} all the way home.",
        "They showed the {x} to {g}, who smiled as if {g.he} knew something.",
    )
    s.slots["moral"] = "a good friend is worth more than gold"
