"""The courses: what people who know football would say at each step. See :mod:`tests.courses.reading`."""

_FIRST = """
    19:00 START | first_half 1' 0:0 live pens=none
    19:00 half_start | first_half 1'
"""
_TO_BREAK = f"""{_FIRST}
    19:46 half_end | half_time 45+1
"""
_SECOND = f"""{_TO_BREAK}
    20:01 half_start | second_half 46'
"""
_NINETY = f"""{_SECOND}
    20:20 goal 1 #one | second_half 65' 1:0
    20:40 goal 2 | second_half 85' 1:1
    20:50 half_end | extra_time_break 90+4 live
"""
_EXTRA = f"""{_NINETY}
    20:55 half_start | extra_time 91'
    21:11 half_end | extra_time_break 105+1
    21:12 half_start | extra_time 106'
    21:28 half_end | extra_time_break 120+1 live
"""
_KICKS = """
    21:35 shootout_goal 1 | shootout 120 1:1 pens=1:0
    21:36 shootout_miss 2 | shootout pens=1:0
    21:37 shootout_goal 1 | shootout pens=2:0
    21:38 shootout_goal 2 | shootout pens=2:1
    21:39 shootout_goal 1 | shootout pens=3:1
    21:40 shootout_miss 2 | shootout pens=3:1
    21:41 shootout_goal 1 | shootout pens=4:1 1:1
"""

COURSES = {
    "ninety minutes": f"""{_SECOND}
        20:45 - | second_half 90'
        20:46 - | second_half 90+1'
        20:50 half_end | extra_time_break 90+4 live
        20:50 match_end | finished 90+4 by=match_end
        21:50 - | finished 90+4 finished
    """,
    "whistles of the same moment in any order": """
        19:00 half_start | first_half 1'
        19:00 START | first_half 1' 0:0
        19:46 half_end | half_time 45+1
        20:01 half_start | second_half 46'
        20:49 match_end | finished 90+3
        20:49 half_end | finished 90+3
    """,
    "only the start and the end are told": """
        19:00 START | first_half 1'
        19:20 goal 2 | first_half 21' 0:1
        20:50 match_end | finished by=match_end 0:1
    """,
    "the ball rolls later than the match is said to start": """
        18:55 START | first_half 1'
        19:00 half_start | first_half 1'
        19:10 - | first_half 11'
    """,
    "the match is said to start after the half": """
        19:00 half_start | first_half 1'
        19:02 START | first_half 1'
        19:12 - | first_half 11'
    """,
    "a break stands still whatever fans do": f"""{_TO_BREAK}
        19:50 cheer | half_time 45+1 live
        19:56 comment | half_time 45+1
        20:05 prediction | half_time 45+1
    """,
    "only the end of the half was told": """
        19:45 half_end minute=45 | half_time 45 live
        19:55 cheer | half_time 45
    """,
    "a whistle tells its added time": """
        19:00 START | first_half 1'
        19:47 half_end minute=45 added=2 | half_time 45+2
        20:00 half_start | second_half 46'
        20:49 match_end minute=90+3 | finished 90+3
    """,
    "predictions before the match start no clock": """
        17:25 prediction | before -- upcoming
        19:00 START | first_half 1' live
        19:09:30 pass 1 | first_half 10'
    """,
    "a lone prediction": """
        17:00 prediction | before -- upcoming
        17:16 - | before -- upcoming
        +1 16:00 - | before upcoming
        +1 17:01 - | finished finished by=quiet
    """,
    "added time of the first half, and the second": f"""{_FIRST}
        19:46:30 goal 1 | first_half 45+2' 1:0
        19:48 half_end | half_time 45+3
        20:03 half_start | second_half 46'
        20:04:10 yellow_card 2 | second_half 47'
    """,
    "sixteen quiet minutes after the half": f"""{_TO_BREAK}
        20:02 - | half_time 45+1 live
        20:31 - | half_time live
        20:32 - | finished finished by=quiet
    """,
    "fans keep no match alive": f"""{_SECOND}
        20:02 pass 1 | second_half 47'
        20:30 cheer | second_half live
        21:30 cheer | finished finished by=quiet
    """,
    "extra time": f"""{_EXTRA}
        21:28 match_end | finished 120+1 1:1 pens=none
    """,
    "extra time after a match_end": f"""{_NINETY}
        20:50 match_end | finished 90+4 finished
        20:55 half_start | extra_time 91' live
        20:58 goal 1 | extra_time 94' 2:1 live
        21:11 half_end | extra_time_break 105+1
        21:11 half_start | extra_time 106'
        21:27 half_end | extra_time_break 120+1
        21:27 match_end | finished 120+1 2:1
    """,
    "play after the end, without a whistle": f"""{_NINETY}
        20:50 match_end | finished finished
        20:55 pass 1 | extra_time_break live
    """,
    "play after the end of a match that had no last whistle": f"""{_SECOND}
        20:49 match_end | finished 90+3
        20:51 shot 1 | second_half 90+6' live
        20:52 match_end | finished 90+6
    """,
    "a card after the end": f"""{_SECOND}
        20:49 match_end | finished 90+3
        20:51 red_card 1 | finished 90+3 finished
    """,
    "a late pass is no play after the end": """
        19:00 START | first_half 1'
        20:49 match_end | finished
        20:48 pass 1 | finished finished
    """,
    "a shoot-out": f"""{_EXTRA}{_KICKS}
        21:42 match_end | finished 1:1 pens=4:1 by=match_end
    """,
    "a shoot-out of which the period was told": f"""{_EXTRA}
        21:33 half_start period=5 | shootout 120 pens=none
        21:35 shootout_miss 2 | shootout pens=0:0
        21:36 shootout_goal 1 | shootout pens=1:0
        21:50 half_end period=5 | shootout pens=1:0
        21:50 match_end | finished pens=1:0 1:1
    """,
    "a shoot-out right after ninety minutes": f"""{_NINETY}
        20:55 shootout_goal 2 | shootout 90 1:1 pens=0:1
        21:05 match_end | finished 1:1 pens=0:1
    """,
    "a shoot-out after a start and nothing else": """
        19:00 START | first_half
        19:30 goal 1 | 1:0
        19:40 goal 2 | 1:1
        21:00 shootout_goal 1 | shootout pens=1:0
        21:01 shootout_miss 2 | pens=1:0
        21:02 shootout_goal 1 | pens=2:0
        21:03 shootout_goal 2 | pens=2:1
        21:04 shootout_goal 1 | pens=3:1
        21:05 shootout_miss 2 | pens=3:1
        21:06 shootout_goal 1 | pens=4:1
        21:07 match_end | finished 1:1 pens=4:1
    """,
    "sudden death": f"""{_EXTRA}
        21:30 shootout_goal 1 | pens=1:0
        21:31 shootout_goal 2 | pens=1:1
        21:32 shootout_miss 1 | pens=1:1
        21:33 shootout_miss 2 | pens=1:1
        21:34 shootout_goal 1 | pens=2:1
        21:35 shootout_goal 2 | pens=2:2
        21:36 shootout_goal 1 | pens=3:2
        21:37 shootout_goal 2 | pens=3:3
        21:38 shootout_goal 1 | pens=4:3
        21:39 shootout_goal 2 | pens=4:4
        21:40 shootout_goal 1 | pens=5:4
        21:41 shootout_goal 2 | pens=5:5 shootout
        21:42 shootout_goal 1 | pens=6:5
        21:43 shootout_miss 2 | pens=6:5 1:1
        21:43 match_end | finished pens=6:5
    """,
    "a kick is taken again": f"""{_EXTRA}
        21:35 shootout_miss 1 #first | shootout pens=0:0
        21:36 retraction of=first | extra_time_break pens=none struck=1
        21:37 shootout_goal 1 | shootout pens=1:0
    """,
    "a match_end before the shoot-out": f"""{_EXTRA}
        21:28 match_end | finished finished
        {_KICKS}
        21:45 match_end | finished pens=4:1
    """,
    "two goals that VAR takes back": f"""{_FIRST}
        19:10 goal 1 #a | 1:0
        19:11 var_review 1 | 1:0
        19:12 retraction of=a | 0:0 struck=1 first_half 13'
        19:20 goal 2 #b | 0:1
        19:22 retraction of=b | 0:0 struck=2
    """,
    "an own goal retracted and given again": f"""{_FIRST}
        19:10 own_goal 1 #own | 0:1
        19:11 retraction of=own | 0:0 struck=1
        19:12 own_goal 1 | 0:1 struck=1
    """,
    "a scorer corrected late": f"""{_FIRST}
        19:10 goal 1 #a player=Adam | 1:0
        19:30 goal 1 #b replaces=a player=Bert | 1:0 struck=1
        19:40 goal 2 #c replaces=b player=Carl | 0:1 struck=2
    """,
    "an own goal corrected to a goal": f"""{_FIRST}
        19:10 own_goal 2 #a | 1:0
        19:12 goal 1 replaces=a | 1:0 struck=1
    """,
    "a half ended too early": f"""{_FIRST}
        19:30 half_end #wrong | half_time
        19:31 retraction of=wrong | first_half 32'
        19:46 half_end | half_time 45+1
    """,
    "a half ended too early, and goes on": f"""{_FIRST}
        19:40 half_end | half_time
        19:42 half_start period=1 | first_half 41'
        19:48 half_end | half_time 45+1
    """,
    "kick-off moved": """
        18:00 START #planned kickoff=2026-11-27T18:00:00Z | first_half 1'
        18:05 retraction of=planned | before -- upcoming
        19:00 START kickoff=2026-11-27T19:00:00Z | first_half 1' live 0:0
        19:10 - | first_half 11'
    """,
    "postponed, and played the next day": """
        18:55 START | first_half live
        18:56 postponed | postponed -- upcoming
        19:30 - | postponed upcoming
        +1 18:00 START | first_half 1' live
        +1 18:46 half_end | half_time 45+1
    """,
    "postponed for good": """
        18:55 START kickoff=2026-11-27T19:00:00Z | first_half
        18:56 postponed | postponed upcoming
        +1 18:59 - | postponed upcoming
        +1 19:01 - | finished finished by=quiet
    """,
    "suspended and resumed": f"""{_SECOND}
        20:20 suspended | suspended 65 live
        20:40 cheer | suspended 65 live
        20:50 resumed | second_half 65'
        20:55 - | second_half 70'
        21:20 match_end | finished 90+4
    """,
    "suspended for longer than any break": f"""{_SECOND}
        20:20 suspended | suspended live
        22:20 - | suspended 65 live
    """,
    "resumed the next day": f"""{_SECOND}
        20:31 suspended | suspended 76
        +1 18:00 - | suspended live
        +1 19:00 resumed | second_half 76' live
        +1 19:10 goal 1 | second_half 86' 1:0
        +1 19:17 match_end | finished 90+2 1:0
    """,
    "suspended in the break": f"""{_TO_BREAK}
        19:55 suspended | suspended 45+1 live
        20:30 resumed | half_time 45+1
        20:35 half_start | second_half 46'
    """,
    "resumed with the whistle of a half": f"""{_FIRST}
        19:20 suspended | suspended 21
        19:40 half_start period=1 | first_half 21'
        20:06 half_end | half_time 45+1
    """,
    "abandoned": f"""{_SECOND}
        20:20 suspended | suspended 65
        20:50 abandoned | abandoned 65 finished by=abandoned
        22:50 - | abandoned finished
    """,
    "abandoned, and taken back": f"""{_SECOND}
        20:20 abandoned #no | abandoned finished
        20:22 retraction of=no | second_half 67' live
    """,
    "periods decide where whistles are missing": """
        20:01 half_start period=2 | second_half 46' live
        20:30 goal 1 | second_half 75'
        20:49 half_end period=2 | extra_time_break 90+3
    """,
    "a whistle told twice": f"""{_FIRST}
        19:00:02 half_start 2 | first_half 1'
        19:46 half_end 1 | half_time 45+1
        19:46:01 half_end 2 | half_time 45+1
        20:01 half_start 1 | second_half 46'
        20:01:01 half_start 2 | second_half 46'
    """,
    "a half whose end nobody told": f"""{_FIRST}
        20:01 half_start | second_half 46'
        20:49 half_end | extra_time_break 90+3
    """,
    "whistles that come late": f"""{_FIRST}
        20:01 half_start | second_half 46'
        19:46 half_end | half_time
        20:05 - | second_half 50'
    """,
    "sides swapped by a correction": """
        19:00 START #a | first_half 0:0
        19:10 goal 1 | 1:0
        19:15 match_start replaces=a home=2 away=1 | 0:1
    """,
    "no whistle at all": """
        19:00 goal 1 | first_half 1' live
        19:10 pass 2 | first_half 11' live
    """,
    "no whistle, but minutes": """
        20:10 goal 1 minute=55 | second_half 55' live
        20:15 - | second_half 60'
    """,
    "a match dated ahead has not begun": """
        17:00 cheer | before upcoming
        19:00 START | first_half
    """,
    "whistles with another match's team": """
        19:00 START | first_half 0:0
        19:30 goal 3 | first_half 31'
    """,
    "suspended, abandoned and resumed without a start": """
        19:00 suspended | suspended --
        19:05 abandoned | abandoned finished
        19:10 resumed | before
    """,
    "suspended, ended and resumed": """
        19:00 suspended | suspended
        19:05 match_end | finished
        19:10 resumed | before
    """,
    "a shoot-out is suspended, abandoned and resumed": """
        21:00 shootout_goal 1 | shootout
        21:01 suspended | suspended
        21:02 abandoned | abandoned finished
        21:03 resumed | shootout live
    """,
    "suspended in the break, and the second half begins": f"""{_TO_BREAK}
        19:55 suspended | suspended
        20:30 half_start | second_half 46'
        21:16 half_end | extra_time_break 90+1
    """,
    "suspended before kick-off": """
        18:50 suspended | suspended --
        19:00 half_start | first_half 1'
        19:10 pass 1 | first_half 11'
    """,
    "suspended between start and kick-off": """
        19:00 START | first_half
        19:01 suspended | suspended
        19:30 half_start | first_half 1'
    """,
    "an early end, and a suspension": f"""{_SECOND}
        20:30 match_end | finished
        20:31 pass 1 | second_half live
        20:40 suspended | suspended live
    """,
    "a shoot-out is suspended, and goes on": f"""{_EXTRA}{_KICKS}
        21:43 suspended | suspended
        21:50 shootout_goal 2 | shootout pens=4:2
    """,
    "the end told twice": f"""{_SECOND}
        20:49 match_end | finished 90+3
        20:49:05 match_end | finished 90+3
    """,
    "postponed after the end": f"""{_SECOND}
        20:49 match_end | finished
        20:50 postponed | finished finished
    """,
    "a scorer corrected after the end": f"""{_SECOND}
        20:20 goal 1 #a player=Adam | 1:0
        20:49 match_end | finished 90+3
        20:55 goal 1 replaces=a player=Bert | finished 90+3 1:0 struck=1
    """,
}
