"""Words of Hindi and Urdu in Latin letters, as people write them in posts. Pure.

No identifier that was compared knows romanised Hindi: it calls such posts English, Malay or Albanian. The words were
chosen from the training split of the Hindi tweets of UMSAB (Barbieri et al. 2021): frequent there, and at least 80
times rarer in English posts.
"""

from typing import Final

_CLEAR = """
aadmi aage aaj aapka aapke aapki aapko aapne aata aaya aaye aayega abhi accha acha achha agar aisa aise aisi
ajao apka apke apki apko apna apne apni apse baad baat baatein bahut bakwas banaya beta bhaiya bhi bhul
bilkul bohot bola chahiye chahta chal chalo chutiya dekh dekha dekhna dekhne dekho diya duniya gaya gaye
gayi ghante ghar gya gye gyi hai hain hamara hamare hamari hoga hogi hona hone hoon hota hote hoti hua hue
hui humein iska iske iski itna itni jaan jaana jaise jaldi jao jaye jayega jyada kaam kab kabhi kaha kahan
kaise karke karna karne karo karta karte karti karunga kaun kharab khatam khud khush kisi kitna kitne kiya
koi krna krne krta krte kuch kya kyon kyu kyun kyunki ladka ladki lagta lagti lekin liya liye logo matlab
mera meri mila milega milna milta mjhe mujhe mujhko nahi nahin nai nhi padega paisa paise pakka pasand pata
pehle phir pyaar pyar raha rahe rahi rakh rha rhe rhi saath sabse sahi sakta sakte sakti samajh sath sirf
skta soch tera tere teri theek thik thoda thodi tujhe tum tumhara tumhe unki unko uska uske uski usko wala
wale wali woh yaad yaar yahan yahi yar yeh yehi zindagi zyada
"""
_SHARED = """
aap ab aur bas bhai dil ek hi ho hu hum jab jo ka kar ke ki ko kr mai main mat mein mere na par pe sab se tak
tha thi to toh tu wo ya ye
"""

CLEAR: Final = frozenset(_CLEAR.split())
"""Words that English and other languages do not have."""

SHARED: Final = frozenset(_SHARED.split())
"""Frequent words that other languages have too. They count only beside clear ones."""
