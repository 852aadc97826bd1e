"""Plots of everyday friendship: sharing, meeting, gifts, quarrels and peace, work done together, visits.

The slots are those of `plots_alone`, with the foods `e` and `e2` besides.
"""

from __future__ import annotations

from grammar import Story


def share(s: Story) -> None:
    """Somebody hungry, something good to eat, and the choice to share it."""
    s.say("One day, {g} gave {h} {e.some}.", "One morning, {h} had {e.some}.", "One day, {h} found {e.some} {p.at}.")
    s.say(
        '"This is all for me!" said {h}.',
        '"How wonderful! I will eat it all by myself," said {h}.',
        "It smelled so good that {h} could hardly wait.",
    )
    s.say("{h} sat down {q.at} to eat {e}.", "{h.he} took {e} {q.to} and sat down.")
    s.paragraph()
    s.say("Then {f} came along.", "Just then, {f} came by, walking very slowly.")
    s.say(
        '"I am so hungry," said {f}. "I have not eaten all day."',
        '"Hello, {h.call}. That looks good," said {f} quietly.',
    )
    s.say(
        "{h} looked at {e}. Then {h.he} looked at {f}.",
        "{h} did not want to share at first.",
        "{h} held {e} tight and thought about it.",
    )
    s.say('"If I share, there will be less for me," {h.he} thought.', '"But it is mine," {h.he} thought.')
    s.say("But {f} looked so sad that {h} felt sorry.", "Then {h} remembered how it feels to be hungry.")
    s.say('"Here, you can have half of it," said {h}.', '"Come and sit down. We will eat it together," said {h}.')
    s.paragraph()
    s.say("They ate together, and it tasted even better than before.", "They ate and talked and laughed.")
    s.say('"You are very kind, {h.call}," said {f}.', '"Thank you! You are a true friend," said {f}.')
    s.say(
        "The next day, {f} came back with {e2.some}, and they shared it too.",
        "A week later, {h} was hungry, and {f} shared {e2.some} with {h.him}.",
    )
    s.slots["moral"] = s.pick("things taste better when you share them", "sharing makes two people happy")


def new_friend(s: Story) -> None:
    """The hero is lonely, meets a newcomer, and a friendship begins."""
    s.say("But {h} was lonely, because {h.he} had no one to play with.", "{h} was often alone and wished for a friend.")
    s.say('"I wish I had a friend," {h.he} said to the [moon|wind|stars].', "Every day, {h.he} played alone {p.at}.")
    s.paragraph()
    s.say("One day, {h} saw someone new {p.at}. It was {f.intro}.", "One morning, {f.intro} came {p.to}.")
    s.say("{f} was sitting alone and looked sad.", "{f} did not know anyone there.", "{f} was too shy to speak.")
    s.say("{h} was shy too, but {h.he} walked over slowly.", "{h} thought for a moment. Then {h.he} went closer.")
    s.say('"Hello," said {h}. "Do you want to play with me?"', '"Hi! Would you like to see my {x}?" asked {h}.')
    s.say(
        '"Yes, please!" said {f}, and {f.his} eyes became bright.',
        '"Oh yes, I would like that," said {f} with a smile.',
    )
    s.paragraph()
    s.say(
        "They played with the {x} all day long.",
        "They played hide and seek until it was dark.",
        "{h} showed {f} the {x}, and they took turns with it.",
    )
    s.say("{f} knew many funny stories, and {h} laughed and laughed.", "They ran, they jumped, and they laughed a lot.")
    s.say('"Will you come back tomorrow?" asked {h}.', '"Can we play again tomorrow?" asked {f}.')
    s.say("They promised to meet again the next day.", "They met again the next day, and every day after.")
    s.say("{h} was not lonely anymore.", "That night, {h} went to bed with a smile.")
    s.slots["moral"] = s.pick("a friend is the best gift of all", "one kind word can start a friendship")


def birthday(s: Story) -> None:
    """A friend's birthday, no present, and something made by hand."""
    thing, made = s.pick(
        ("card", "painted a card with stars and flowers"),
        ("necklace", "made a necklace of small shells"),
        ("crown", "made a crown of leaves and flowers"),
        ("song", "made up a happy little song"),
        ("cake", "baked a small cake with berries on top"),
    )
    s.slots |= {"thing": thing, "made": made}
    s.say("One day, {h} heard some news. Tomorrow was {f}'s birthday!", "It was almost time for {f}'s birthday.")
    s.say(
        '"I need a present," said {h}. "But I have no money."',
        "{h} wanted to give {f} something special, but {h.he} had nothing to give.",
    )
    s.say("{h.he} walked {p.to} and thought very hard.", "{h.he} sat {p.at} and thought and thought.")
    s.paragraph()
    s.say("{h.he} asked {g} for help.", "There {h.he} met {g}.", "Then {g} came by.")
    s.say('"What can I give to {f}?" asked {h}.', '"I have no present for {f}," said {h} sadly.')
    s.say('"The best presents come from the heart," said {g}.', '"You can make something yourself," said {g}.')
    s.say("That gave {h} an idea. {h.he} {made}.", "So {h} went home and worked all evening. {h.he} {made}.")
    s.paragraph()
    s.say("The next day, there was a big party {q.at}.", "At the party, there were games and music and a lot of cake.")
    s.say("Everyone had brought big presents.", "The other presents were big and shiny.")
    s.say("{h} was worried. {h.his} present was so small.", '"Maybe my present is too small," thought {h}.')
    s.say(
        "But when {f} saw the {thing}, {f.he} smiled from ear to ear."
        if thing != "song"
        else "But when {f} heard the song, {f.he} smiled from ear to ear."
    )
    s.say(
        '"You made this for me? It is the best present of all!" said {f}.', '"This is my favorite present!" said {f}.'
    )
    s.say("Then they danced until the stars came out.", "{h} was so happy that {h.he} laughed.")
    s.slots["moral"] = "the best presents come from the heart"


def quarrel(s: Story) -> None:
    """Two friends quarrel about a thing and make peace."""
    s.say("{h} and {f} were best friends.", "{h.his} best friend was {f}.")
    s.say("One day, they found a~{x} {p.at}.", "One day, {g} gave them a~{x}.")
    s.say('"I saw it first! It is mine!" said {h}.', '"It is mine!" said {h}.')
    s.say('"No, it is mine!" said {f}.', '"No, I want to have it!" shouted {f}.')
    s.say(
        "They pulled and pulled, and then the {x} fell down into the mud.",
        "{h} pulled on one side, and {f} pulled on the other side.",
    )
    s.say(
        '"I do not want to play with you anymore," said {f}, and went home.',
        '"You are not my friend anymore!" said {h}, and ran away.',
    )
    s.paragraph()
    s.say("Now {h} had the {x}, but it was no fun to play alone.", "{h} sat alone {q.at} and felt sad.")
    s.say("{g} sat down beside {h.him}.", "{g} saw {h.him} and asked what was wrong.")
    s.say(
        '"What is more important, a~{x} or a friend?" asked {g}.', '"A friend is harder to find than a~{x}," said {g}.'
    )
    s.say("{h} thought about it for a long time.", "{h} knew that {g} was right.")
    s.say("Then {h.he} ran to find {f}.", "So {h.he} got up and went to see {f}.")
    s.paragraph()
    s.say('"I am sorry," said {h}. "You can have the {x}."', '"I am sorry that I was mean," said {h}.')
    s.say('"I am sorry too," said {f}. "Let us share it."', '"I missed you," said {f}. "We can take turns."')
    s.say(
        "So they played together with the {x}, first one and then the other.",
        "They washed the {x} and played with it together.",
    )
    s.slots["moral"] = s.pick("a friend is worth more than a toy", "it is never too late to say sorry")


def build(s: Story) -> None:
    """Something is built, fails alone and succeeds together."""
    thing, part = s.pick(("tree house", "boards"), ("little boat", "wood"), ("big kite", "paper"), ("bridge", "logs"),
                         ("snowman", "snow"), ("sand castle", "sand"))  # fmt: skip
    s.slots |= {"thing": thing, "part": part}
    s.say(
        "One day, {h} had a great idea. {h.he} wanted to build a~{thing}.",
        "One day, {h} decided to build a~{thing} {p.at}.",
    )
    s.say('"Do you need help?" asked {f}.', '"Can I help you?" asked {f}.')
    s.say('"No, I can do it alone," said {h}.', '"No, thank you. It is my {thing}," said {h}.')
    s.say("{h} got a lot of {part} and worked all morning.", "{h.he} worked and worked with the {part}.")
    s.say("But then, crash! The {thing} fell apart.", "But the {thing} was crooked, and the wind knocked it over.")
    s.paragraph()
    s.say("{h} sat down and cried.", "{h} was angry and kicked a stone.")
    s.say("{f} sat down next to {h.him}.", "{f} came over and did not laugh.")
    s.say('"You hold it, and I will push," said {f}. "Together it is easy."', '"Let us try it together," said {f}.')
    s.say('"I am sorry that I said no," said {h}.', '"All right. I cannot do it alone," said {h}.')
    s.say(
        "So they began again. {h} held the {part}, and {f} put everything in its place.",
        "They started again, and this time they worked together. Even {g} came to help.",
    )
    s.paragraph()
    s.say("In the evening, the {thing} was finished.", "Before the sun went down, the {thing} was ready.")
    s.say("It was the finest {thing} that anyone had ever seen.", "It was big and strong and beautiful.")
    s.say('"We did it!" said {h} and {f} together.', '"Our {thing}!" said {h} proudly.')
    s.slots["moral"] = s.pick("many hands make light work", "together we can do more than alone")


def sick_friend(s: Story) -> None:
    """A friend is ill, and everyone does a little to cheer it up."""
    s.say("One day, {f} did not come to play.", "One day, {h} waited for {f} {p.at}, but {f} did not come.")
    s.say('"Where is {f}?" asked {h}.', '"I wonder where {f} is," said {h}.')
    s.say('"{f} is sick and has to stay in bed," said {g}.', '"{f} has a bad cold," said {g}.')
    s.say("{h} was worried.", "That made {h} sad.")
    s.say('"I will do something to make {f} happy," {h.he} said.', '"I want to help," {h.he} said. "But how?"')
    s.paragraph()
    s.say("First, {h} picked some flowers {q.at}.", "First, {h.he} went {q.to} and picked the prettiest flowers.")
    s.say("Then {h.he} got {e.some}.", "Then {g} gave {h.him} {e.some}.")
    s.say(
        "{h} also took {h.his} {x}, because it always made {h.him} smile.", "Last of all, {h.he} took {h.his} own {x}."
    )
    s.say("It was a long way to {f}'s home, but {h} did not mind.", "The way was long, and the bag was heavy.")
    s.paragraph()
    s.say("{f} lay in bed with a red nose.", "{f} looked pale and tired.")
    s.say('"{h.call}! You came to see me!" said {f}.', '"Oh, how nice of you to come," said {f}.')
    s.say(
        "{h} gave {f} {e} and the flowers, and told {f.him} a funny story.", "They ate {e}, and {h} told a funny story."
    )
    s.say("{f} laughed, and that was the best medicine.", '"I feel better already," said {f}.')
    s.say("{h} left the {x} with {f} until {f.he} was well again.", "After three days, {f} could play outside again.")
    s.slots["moral"] = s.pick("a visit from a friend is the best medicine", "a little kindness goes a long way")


def helping(s: Story) -> None:
    """An elder has a heavy task; help is given freely and returned."""
    task, work = s.pick(("carry a heavy basket home", "carried it up the steep path"),
                        ("pick all the apples before the rain", "climbed up and picked every apple"),
                        ("sweep up a thousand leaves", "swept until the ground was clean"),
                        ("bring in the wood for the winter", "carried the wood inside, piece by piece"))  # fmt: skip
    s.slots |= {"task": task, "work": work}
    s.say("One day, {h} was on the way {p.to} when {h.he} met {g}.", "One morning, {h} saw {g} {p.at}.")
    s.say("{g} had to {task} and looked very tired.", '"Oh dear. I have to {task}, and I am so tired," said {g}.')
    s.say("{h} wanted to go and play with {f}.", "{f} was already waiting {q.at} to play.")
    s.say('"I can play later," thought {h}.', "But {h} did not want to leave {g} alone.")
    s.say('"Let me help you," said {h}.', '"I will do it for you," said {h}.')
    s.say("{h.he} {work}.", "It was hard work, but {h} {work}.")
    s.maybe("{f} came to see what was going on, and helped too.", "It took a long time.")
    s.paragraph()
    s.say(
        '"What can I give you for your help?" asked {g}.', '"You are so kind. What would you like to have?" asked {g}.'
    )
    s.say('"Nothing," said {h}. "I was happy to help."', '"I do not need anything," said {h}.')
    s.say("{g} smiled and gave {h.him} {e.some} anyway.", "But {g} smiled and went to get {e.some} for {h.him}.")
    s.say("{h} shared it with {f}.", "{h} ran {q.to} and ate it together with {f}.")
    s.paragraph()
    s.say("The next week, {h}'s {x} broke, and {h.he} was very sad.", "Some days later, {h} broke {h.his} {x}.")
    s.say('"Bring it to me," said {g}.', "When {g} heard about it, {g.he} came at once.")
    s.say(
        "{g} fixed it so well that it looked like new.",
        "{g} worked on it all evening, and in the morning it was like new.",
    )
    s.say('"You helped me, and now I help you," said {g}.', '"Thank you!" said {h}, and gave {g} a hug.')
    s.slots["moral"] = "kindness always finds its way back"
