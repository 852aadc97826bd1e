"""Plots in which the hero meets a trouble or a wish of its own: something lost, feared, learned, grown or broken.

A plot adds sentences to a story whose slots already hold the hero `h`, a friend `f`, an elder `g`, a treasure `x` and
two places `p` and `q`. It starts where the opening left off and ends before the closing words.
"""

from __future__ import annotations

from cast import COLORS, FLYERS, SWIMMERS
from grammar import Story

# What an animal of some kind cannot sensibly fear or fail at: the first word of the choice, and the kinds.
BAD_FEARS = {"the dark": ("owl", "badger"), "deep water": SWIMMERS, "high places": FLYERS}
BAD_SKILLS = {"swim": SWIMMERS, "climb": (*FLYERS, "squirrel"), "jump over the stream": (*FLYERS, *SWIMMERS)}


def lost(s: Story) -> None:
    """A treasure is lost, looked for and found."""
    s.say(
        "{h} had a~{x} that {h.he} loved more than anything.",
        "{h.his} favorite thing was a~{x}.",
        "{h} had a~{x}, and {h.he} took it everywhere.",
    )
    s.paragraph()
    s.say(
        "One day, the {x} was gone.",
        "One morning, {h} could not find the {x}.",
        "One day, {h} came home from {p} and saw that the {x} was gone.",
    )
    s.say('"Oh no! Where is my {x}?" cried {h}.', '"Where can it be?" {h.he} said.', "{h} felt very sad.")
    s.say(
        "{h} looked under the bed, but it was not there.",
        "{h} looked behind the door, but there was nothing there.",
        "{h} looked everywhere at home, but the {x} was not there.",
    )
    s.say("Then {h.he} went {p.to} and looked there too.", "{h.he} ran {p.to}, but the {x} was not there.")
    helper = s.pick("f", "g")
    s.slots["k"] = s.slots[helper]
    s.paragraph()
    s.say("On the way, {h.he} met {k}.", "Soon {k} came by.", "There {h.he} saw {k}.")
    s.say('"Why are you so sad, {h.call}?" asked {k}.', '"What is the matter, {h.call}?" asked {k}.')
    s.say('"I lost my {x}," said {h}.', '"My {x} is gone, and I cannot find it," said {h}.')
    s.say(
        '"Do not worry. I will help you," said {k}.',
        '"Let us look together," said {k}.',
        '"Where did you see it last?" asked {k}. "I think it was {q.at}," said {h}.',
    )
    s.say(
        "So they went {q.to} and looked [behind every stone|in the tall grass|under every bush].",
        "Together they walked {q.to}.",
    )
    s.say(
        "And there, [in the grass|between two stones|under a big leaf], was the {x}!",
        "Suddenly {k} pointed at something. It was the {x}!",
    )
    s.paragraph()
    s.say(
        "{h} was so happy that {h.he} [danced|jumped up and down|laughed out loud].",
        "{h} held the {x} tight and smiled.",
    )
    s.say('"Thank you, {k.call}!" said {h}.', '"Thank you for helping me," said {h}.')
    s.say(
        "After that, {h} always took good care of the {x}.",
        "From that day on, {h} always put the {x} in a safe place.",
        "Then they played together until the sun went down.",
    )
    s.slots["moral"] = s.pick("a good friend helps you when you are sad", "two can find more than one")


def brave(s: Story) -> None:
    """The hero fears something, and overcomes it for a friend."""
    fear, scene, deed = s.suitable(
        BAD_FEARS,
        ("the dark", "It was late, and the sky was black.", "walked into the dark, step by step"),
        ("thunder", "Big gray clouds came, and the thunder was loud.", "ran out into the rain"),
        ("deep water", "The water was deep and cold.", "jumped into the water and swam"),
        ("high places", "The tree was very tall.", "climbed up, one branch at a time"),
    )
    s.slots |= {"fear": fear, "deed": deed}
    s.say(
        "But there was one thing: {h} was afraid of {fear}.",
        "But {h} was very much afraid of {fear}.",
        "{h.he} had only one problem. {h.he} was afraid of {fear}.",
    )
    s.say(
        '"I wish I were brave," {h.he} often said.',
        "{h.he} did not tell anyone about it.",
        "The others sometimes laughed at {h.him}, and that made {h.him} sad.",
    )
    s.paragraph()
    s.say("One evening, {h} heard a small voice.", "One day, {h} was {p.at} when {h.he} heard a cry.")
    s.say('"Help! Help!" it called.', '"Please, somebody help me!" called the voice.')
    s.say("It was {f}!", "{h} knew that voice. It was {f}!")
    s.slots["trouble"] = {
        "the dark": s.pick("{f} was lost and could not find the way home.", "{f} had hurt a foot and could not walk."),
        "thunder": s.pick("{f} was alone outside in the storm.", "{f} was caught under a fallen branch."),
        "deep water": s.pick("{f} had fallen into the water.", "{f} sat on a log in the middle of the water."),
        "high places": s.pick(
            "{f} sat at the top of a tree and could not get down.", "{f} was stuck on the highest branch of a tree."
        ),
    }[fear]
    s.say(s.slots["trouble"])
    s.say(scene)
    s.paragraph()
    s.say(
        "{h}'s heart beat fast. {h.his} legs shook.",
        "{h} was so afraid that {h.he} could not move.",
        "{h} wanted to run away.",
    )
    s.say("But then {h.he} thought of {h.his} friend.", '"My friend needs me," {h.he} thought.')
    s.say("{h} took a deep breath and {deed}.", "So {h} closed {h.his} eyes for a moment. Then {h.he} {deed}.")
    s.say(
        '"Hold on to me," said {h}, and soon they were both safe.',
        '"I am here. Take my hand," {h.he} said, and together they came back safely.'
        if s.slots["f"].world == "village"
        else '"I am here. Do not be afraid," {h.he} said, and together they came back safely.',
    )
    s.say('"You saved me!" said {f}. "You are so brave!"', '"Thank you, {h.call}. You are very brave," said {f}.')
    s.say('"I was afraid," said {h}. "But I did it anyway."', "{h} smiled. {h.he} was not so afraid of {fear} anymore.")
    s.slots["moral"] = "being brave means doing the right thing even when you are afraid"


def skill(s: Story) -> None:
    """The hero learns something hard by practice."""
    if s.slots["h"].world == "village":
        can, fail, good = s.pick(
            ("swim", "swallowed a lot of water", "swam across the lake"),
            ("ride a bike", "fell off after one second", "rode all the way down the street"),
            ("bake bread", "burned the bread until it was black", "baked a loaf that smelled wonderful"),
            ("play the drum", "made a terrible noise", "played a song that made everyone dance"),
            ("whistle", "blew and blew, but no sound came out", "whistled as well as a bird"),
            ("skate", "slipped and fell on the ice", "danced over the ice like a feather"),
        )
    else:
        can, fail, good = s.suitable(
            BAD_SKILLS,
            ("swim", "swallowed a lot of water", "swam across the pond"),
            ("climb", "slid down and landed in the leaves", "climbed to the top of the tallest tree"),
            ("sing", "made a funny sound like an old door", "sang so well that all the birds listened"),
            ("whistle", "blew and blew, but no sound came out", "whistled as well as the wind"),
            ("dance", "fell over {h.his} own feet", "danced like a leaf in the wind"),
            ("jump over the stream", "landed in the water with a splash", "jumped right over the stream"),
        )
    s.slots |= {"can": can, "fail": s.fill(fail), "good": good}
    s.say(
        "{h} wanted to learn how to {can}.",
        "More than anything, {h} wanted to {can}.",
        "All of {h.his} friends could {can}, but {h} could not.",
    )
    s.paragraph()
    s.say(
        "One day, {h.he} tried it for the first time. {h.he} {fail}.",
        "One morning, {h} tried to {can}, but {h.he} {fail}.",
    )
    s.say('"This is too hard," said {h}.', '"I will never learn it," {h.he} said.', "{h} almost cried.")
    s.say("{g} saw it and came over.", "{g} had watched {h.him} and smiled.")
    s.say(
        '"Nobody can do it the first time," said {g}. "Try again, slowly."',
        '"When I was young, I could not do it either," said {g}. "You have to practice every day."',
    )
    s.say("So {h} tried again, and again, and again.", "So {h} practiced every day, in the morning and in the evening.")
    s.maybe("On the second day, it was a little better.", "Sometimes {h.he} wanted to give up, but {h.he} did not.")
    s.paragraph()
    s.say("After a week, something wonderful happened. {h} {good}!", "Then, one fine day, {h} {good}!")
    s.say('"I did it! I did it!" {h.he} shouted.', '"Look at me! I can do it!" called {h}.')
    s.say("{f} saw it and clapped.", '"That was wonderful!" said {f}.', "{g} was very proud of {h.him}.")
    s.say('"Can you teach me too?" asked {f}. And {h} did.', "The next day, {h} showed {f} how to do it.")
    s.slots["moral"] = s.pick("if you practice every day, hard things become easy", "you should never give up too soon")


def storm(s: Story) -> None:
    """Bad weather surprises the hero; somebody opens a door; afterwards there is a rainbow."""
    s.say(
        "One day, {h} went {p.to} to [pick flowers|look for mushrooms|play|gather berries].",
        "One afternoon, {h} walked {p.to} all alone.",
    )
    s.say("The sky was blue, and a soft wind was blowing.", "The sun was shining, and {h} sang a little song.")
    s.say("But then dark clouds covered the sun.", "But soon the sky became gray and the wind grew strong.")
    s.say("It began to rain very hard.", "There was a loud crack of thunder, and it began to rain.")
    s.say('"I must find a dry place," said {h}.', '"Oh dear, I am getting all wet!" said {h}.')
    s.paragraph()
    s.say("{h} ran as fast as {h.he} could, but home was far away.", "{h} could hardly see the way.")
    s.say(
        "Then {h.he} saw a light in a window {q.at}.", "Just then {h.he} saw a little house with a light in the window."
    )
    s.say("{h} knocked on the door, and {g} opened it.", "It was the home of {g}.")
    s.say('"Come in, come in!" said {g}. "You must be very cold."', '"You poor thing! Come in and get warm," said {g}.')
    s.say(
        "{g} gave {h.him} [a bowl of hot soup|a cup of warm milk|a piece of cake] and a soft blanket.",
        "Soon {h} sat by the fire with [a bowl of hot soup|a cup of warm milk].",
    )
    s.say(
        "They told each other stories while the rain fell on the roof.", "{g} told {h.him} a story about the old days."
    )
    s.paragraph()
    s.say("At last, the storm was over.", "After some time, it was quiet outside.")
    s.say(
        "{h} looked out and saw a big rainbow over {p}.", "The sun came out again, and there was a rainbow in the sky."
    )
    s.say('"Thank you for everything," said {h}.', '"Thank you, {g.call}. You are very kind," said {h}.')
    s.say(
        "The next day, {h} came back with [a basket of apples|some flowers|a fresh pie] for {g}.",
        "After that, {h} often came to visit {g}.",
    )
    s.slots["moral"] = "after every storm the sun comes out again"


def garden(s: Story) -> None:
    """A seed is planted and cared for, and what grows is shared."""
    plant, fruit = s.pick(("sunflower", "seeds"), ("apple tree", "apples"), ("pumpkin", "soup"),
                          ("strawberry plant", "strawberries"), ("rose bush", "flowers"))  # fmt: skip
    s.slots |= {"plant": plant, "fruit": fruit}
    s.say("One spring day, {h} found a tiny seed {p.at}.", "One day, {g} gave {h} a tiny seed.")
    s.say('"What will it be?" {h.he} asked.', '"I wonder what will grow from it," said {h}.')
    s.say(
        "{h} made a hole in the ground, put the seed in it and gave it some water.",
        "{h.he} planted the seed in a sunny place and gave it water.",
    )
    s.paragraph()
    s.say(
        "The next morning, {h} looked, but there was nothing to see.", "Every day {h.he} looked, but nothing happened."
    )
    s.say(
        '"Perhaps it is sleeping," said {f}.', '"Maybe it was a bad seed," said {f}.', '"It will never grow," said {f}.'
    )
    s.say('"You must be patient," said {g}. "Good things take time."', '"Give it water and sun, and wait," said {g}.')
    s.say("So {h} waited. {h.he} gave it water every morning.", "So {h} gave it water every day and sang to it.")
    s.say(
        "Then, after many days, a small green leaf came out of the ground.",
        "One morning, there was a little green leaf!",
    )
    s.say("It grew and grew, until it was a~{plant}.", "All summer long it grew, and it became a beautiful {plant}.")
    s.paragraph()
    s.say('"It is a~{plant}!" said {h} happily.', '"Look how big it is!" said {h}.')
    s.say(
        "Soon there were so many {fruit} that {h.he} could share them with everyone."
        if fruit != "soup"
        else "They made a big pot of soup from it, and everyone had a bowl."
    )
    s.say("{f} and {g} came to look at it too.", '{f} was surprised. "You were right to wait," said {f}.')
    s.slots["moral"] = "good things need time and care"


def honest(s: Story) -> None:
    """Something is broken, hidden, confessed and forgiven."""
    thing = s.pick("blue cup", "big window", "old clock", "flower pot", "glass bowl", "wooden chair", "lamp")
    s.slots["b"] = thing
    s.say("One day, {h} was playing at the home of {g}.", "One rainy day, {h} visited {g}.")
    s.say(
        "{h.he} ran around and around, and then, crash! The {b} was broken.",
        "{h} jumped a little too high and fell against the {b}. It broke with a loud crash.",
    )
    s.say("Nobody had seen it.", "{g} was outside and had not heard anything.")
    s.say('"Oh no, what have I done?" thought {h}.', '"What shall I do now?" thought {h}.')
    s.say(
        "{h.he} hid the broken {b} under a blanket and went home.",
        "{h.he} was so afraid that {h.he} hid the pieces behind a box.",
    )
    s.paragraph()
    s.say("But that night, {h} could not sleep.", "But all day long, {h} felt bad. {h.his} dinner did not taste good.")
    s.say("{h.he} told {f} about it.", "The next day, {h.he} told {h.his} friend {f} what had happened.")
    s.say('"You should tell the truth," said {f}. "I will come with you."', '"It is better to say it," said {f}.')
    s.say("So {h} went back to {g}.", "So {h} took a deep breath and went to see {g}.")
    s.say(
        '"I am sorry. I broke your {b}," {h.he} said in a small voice.',
        '"It was me. I broke the {b}, and I am sorry," said {h}.',
    )
    s.paragraph()
    s.say("{g} was quiet for a moment. Then {g.he} smiled.", "{g} looked at {h.him} for a long time and then smiled.")
    s.say(
        '"Thank you for telling me the truth," said {g}. "That was brave."',
        '"A broken {b} is not so bad," said {g}. "I am glad that you told me."',
    )
    s.say("Together they fixed the {b} with a lot of glue.", "Then they fixed it together, and it was almost like new.")
    s.say("{h} felt as light as a feather.", "That night, {h} slept very well.")
    s.slots["moral"] = s.pick("it is always best to tell the truth", "telling the truth makes your heart light")


def moon(s: Story) -> None:
    """A night without sleep, a walk or a question, and sleep at last."""
    s.say("One night, {h} could not sleep.", "One night, {h} was still awake when the others slept.")
    s.say(
        "The moon was big and round, and the stars were shining.", "The wind was blowing, and the moon shone brightly."
    )
    s.say(
        "{h} counted to one hundred, but it did not help.",
        "{h} turned to the left, and then {h.he} turned to the right.",
    )
    s.say("So {h.he} got up and looked outside.", "At last, {h.he} got up and went outside very quietly.")
    s.paragraph()
    s.say("There was {g}, looking at the stars.", "{g} was awake too.")
    s.say('"Why are you not asleep, {h.call}?" asked {g}.', '"It is very late, {h.call}," said {g}.')
    s.say(
        '"I cannot stop thinking," said {h}.',
        '"I am afraid that I will have a bad dream," said {h}.',
        '"Where does the sun go at night?" asked {h}.',
    )
    s.say(
        '"Then look at the moon," said {g}. "It watches over everyone who sleeps."',
        '"Sit down with me," said {g}. "We will look for the brightest star."',
    )
    s.say("They sat side by side and listened to the night.", "They sat down and did not say a word for a long time.")
    s.say("Far away, a~[bird|frog|cricket] was singing a soft song.", "A star fell from the sky, and {h} made a wish.")
    s.paragraph()
    s.say("Slowly, {h}'s eyes became heavy.", "Soon {h} gave a big yawn.")
    s.say(
        "{g} carried {h.him} to bed and put a warm blanket over {h.him}.", '"Now it is time to sleep," said {g} softly.'
    )
    s.say(
        "{h} dreamed of [flying to the moon|a boat on a silver sea|a garden full of stars], and it was a good dream.",
        "{h} was asleep before {h.he} could say good night.",
    )
    s.say("In the morning, {h.he} told {f} all about it.", "The next day, {h} and {f} painted a picture of the moon.")
    s.slots["moral"] = "the night is not so dark when somebody is near"


def small(s: Story) -> None:
    """The hero is unhappy with how it is and learns to like itself."""
    s.slots["c"] = s.pick(*COLORS)
    s.slots["wish"] = s.pick("bigger", "faster", "stronger", "taller")
    s.say("{h} was very small, and {h.he} did not like it.", "{h} was the smallest of all {h.his} friends.")
    s.say('"I wish I were {wish}," {h.he} said every day.', '"Why can I not be {wish}?" {h.he} asked.')
    s.paragraph()
    s.say(
        "One day, the friends were playing {p.at} with a~{c} ball.",
        "One day, {h} and {f} played {p.at} with a~{c} ball.",
    )
    s.say("The ball rolled away and fell into a deep, narrow hole.", "The ball rolled under a big rock and was stuck.")
    s.say("{f} tried to get it, but could not reach it.", "{f} pulled and pushed, but {f.he} was too big.")
    s.say("Even {g} could not get it.", "They asked {g} for help, but {g} was too big as well.")
    s.say('"Now our ball is gone," said {f} sadly.', '"What can we do?" asked {f}.')
    s.paragraph()
    s.say('"Let me try," said {h}.', 'Then {h} had an idea. "I am small. I can get it!" {h.he} said.')
    s.say(
        "{h.he} crawled into the small space and came back with the ball.",
        "{h.he} made {h.himself} very thin, crawled in, and pushed the {c} ball out.",
    )
    s.say('"Hooray for {h}!" everyone cried.', '"You did it! You are the best!" said {f}.')
    s.say("{h} smiled. It was not so bad to be small.", "That day, {h} was glad to be small.")
    s.slots["moral"] = s.pick("everyone is good at something", "it is good to be just the way you are")
