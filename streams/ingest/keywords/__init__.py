"""The keywords that an operator wants to follow, and where they are found in posts.

folding      text -> the form in which texts and keywords are compared. Pure
edges        where a word begins and ends, for every script. Pure
keyword      checks a keyword that somebody gives. Pure
keyword_set  the records of the keywords topic -> the keywords. Pure
matcher      finds the keywords of a set in texts. Pure
selection    the keywords of a post, or that it is dropped. Pure
given        reads the keywords that a user gives, as arguments or in a file
store        adds, removes and lists keywords in the topic
follower     keeps a matcher up to date while keywords are added and removed
"""
