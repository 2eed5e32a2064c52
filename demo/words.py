"""The words that fill the slots of the templates, and of the made-up user names."""

import re
from random import Random

SLOTS: dict[str, tuple[str, ...]] = {
    "thing": (
        "the match", "the concert", "my new phone", "the exam", "the train ride", "lunch",
        "the museum tour", "our garden", "the office party", "the marathon", "my haircut",
        "the hotel", "this book", "the last episode", "the film", "our flight", "the dentist",
        "math class", "the coffee here", "the parade", "the road trip", "grandma's soup",
        "the job interview", "the new update", "the camping weekend", "the school play",
        "the pizza place", "our wedding rehearsal", "the bus tour", "my first shift",
        "the city council meeting", "the puppy class", "the art fair", "the election debate",
        "the moving day", "the derby", "the ferry", "our team meeting", "the piano lesson",
        "the food market", "the night shift", "the science fair", "the customer service",
        "the season opener", "the swim meet", "the driving test", "the book club",
    ),
    "tag": (
        "Football", "Concert", "CityLife", "Monday", "Travel", "FoodTruck", "StreetPhoto",
        "Throwback", "OldTown", "SummerTour", "SchoolRun", "CoffeeTime", "RoadTrip", "NowPlaying",
        "PhotoOfTheDay", "WeekendPlans", "LocalNews", "HomeTeam", "Toronto", "Leeds", "Chicago",
        "OfficeLife", "BookClub", "Vote", "MovieNight", "Garden", "Commute", "MyDay", "Tech",
        "DogWalk", "Marathon", "Exams", "FlashbackFriday", "LiveMusic", "Art", "OnThisDay",
    ),
    "when": (
        "today", "tonight", "this morning", "yesterday", "last night", "on Friday", "this weekend",
        "after work", "on Sunday", "right now", "this week", "at noon", "before breakfast",
        "in the afternoon", "since Tuesday", "for the second time", "again",
    ),
    "where": (
        "downtown", "in Leeds", "at the station", "on Queen Street", "at school", "in Ohio",
        "by the river", "at the arena", "in the office", "at platform 4", "on campus",
        "near the bridge", "in Dublin", "at the mall", "at home", "in the kitchen", "in Row 12",
        "at Gate 7", "across the street", "in Manchester", "on the second floor",
    ),
    "who": (
        "my sister", "my brother", "the neighbours", "our coach", "mum", "dad", "my boss",
        "the kids", "my best friend", "the new guy", "our teacher", "the whole crew", "grandpa",
        "my roommate", "the driver", "the band", "the doctor", "our team", "my cousin", "the staff",
    ),
    "good": (
        "amazing", "wonderful", "so much fun", "lovely", "brilliant", "awesome", "perfect",
        "fantastic", "beautiful", "delightful", "great", "superb", "adorable", "heartwarming",
        "sweet", "excellent", "magical", "incredible", "a joy", "a dream",
    ),
    "bad": (
        "awful", "terrible", "so disappointing", "horrible", "a disaster", "painful", "miserable",
        "dreadful", "a nightmare", "pathetic", "depressing", "the worst", "disgusting", "rubbish",
        "heartbreaking", "a total mess", "unfair", "ugly", "scary", "a shame",
    ),
    "joy": (
        "can't stop smiling", "feeling so happy", "so proud of {who}", "what a day",
        "loved every minute", "best day in ages", "I am so grateful", "we laughed all the way home",
        "thank you {who}", "so excited", "my heart is full", "big hugs to everyone",
        "would do it all again", "feeling lucky", "made my week",
    ),
    "gripe": (
        "I want to cry", "so angry", "feeling sick about it", "so sad for {who}", "never again",
        "worst day in ages", "I hate this", "shame on {who}", "totally let down", "I give up",
        "we cried all the way home", "so fed up", "my heart is broken", "feeling so low",
        "ruined my week",
    ),
    "fact": (
        "doors open at {n}", "photos are on the page", "part {n} of {n}", "as seen {where}",
        "{who} took this one", "more details {when}", "bus number {n} goes there",
        "taken {when} {where}", "it takes {n} minutes", "list is on the website",
        "we are {n} people", "{who} will be there too", "the next one is {when}",
    ),
    "opener": (
        "so", "ok", "well", "hey {who},", "update:", "wow,", "hmm,", "guys,", "oh", "psst,", "just",
        "lol", "omg", "yo", "dear diary,", "good morning,", "hello from {where}:",
    ),
    "n": ("2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "15", "20", "45"),
}  # fmt: skip

HANDLES = (
    "anna", "mike", "the_real", "leeds", "foodie", "city", "jay", "tina", "big_ben", "photo",
    "daily", "sam", "music", "coach", "lucy", "retro", "north", "omar", "radio", "green",
)  # fmt: skip

_SLOT = re.compile(r"\{(\w+)\}")


def fill(template: str, rng: Random) -> str:
    """Returns the template with every slot filled, and the slots within the fillings too."""
    while "{" in template:
        template = _SLOT.sub(lambda match: rng.choice(SLOTS[match[1]]), template)
    return template
