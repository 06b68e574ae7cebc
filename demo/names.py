"""Other names of the answers in the demo's vocabularies, and names for the falsehoods that models tell.

An alias is the same answer under another name: an endonym, a former spelling, a code. A distractor is another answer.
"""

from __future__ import annotations

CAPITALS = {
    "Washington": ("Washington DC", "Washington D.C."),
    "New Delhi": ("Delhi",),
    "Nur-Sultan": ("Astana",),
    "Ulan Bator": ("Ulaanbaatar",),
    "Nay Pyi Taw": ("Naypyidaw",),
    "N'Djamena": ("Ndjamena", "Djamena"),
    "Port-au-Prince": ("Port au Prince",),
    "Addis Ababa": ("Addis Abeba",),
    "Algiers": ("Alger", "Argel"),
    "Ashgabat": ("Ashgabad",),
    "Athens": ("Athina", "Atenas"),
    "Baghdad": ("Bagdad",),
    "Beijing": ("Peking", "Pekin"),
    "Belgrade": ("Belgrad", "Beograd"),
    "Bern": ("Berne", "Berna"),
    "Brussels": ("Bruxelles", "Brussel"),
    "Bucharest": ("Bucuresti", "Bukarest", "Bucarest"),
    "Cairo": ("Kairo",),
    "Copenhagen": ("Kobenhavn", "Kopenhagen", "Copenhague"),
    "Havana": ("La Habana", "Habana"),
    "Kathmandu": ("Katmandu",),
    "Khartoum": ("Khartum",),
    "Kyiv": ("Kiev",),
    "Lisbon": ("Lisboa",),
    "London": ("Londres",),
    "Mexico City": ("Ciudad de Mexico",),
    "Moscow": ("Moskva", "Moscou"),
    "Ouagadougou": ("Wagadugu",),
    "Prague": ("Praha", "Praga"),
    "Rome": ("Roma",),
    "Sanaa": ("Sana",),
    "Tehran": ("Teheran",),
    "Vienna": ("Wien", "Viena"),
    "Warsaw": ("Warszawa", "Varsovia"),
}
CITIES = {
    "Bengaluru": ("Bangalore",),
    "Cape Town": (),
    "Chattogram": ("Chittagong",),
    "Cologne": ("Köln",),
    "Frankfurt am Main": ("Frankfurt",),
    "Geneva": ("Genève",),
    "Gothenburg": ("Göteborg",),
    "Ho Chi Minh City": ("Saigon",),
    "Kolkata": ("Calcutta",),
    "Kraków": ("Cracow",),
    "La Paz": (),
    "Makkah": ("Mecca",),
    "Madinah": ("Medina",),
    "Marrakesh": ("Marrakech",),
    "Mumbai": ("Bombay",),
    "New York City": ("New York",),
    "Odesa": ("Odessa",),
    "Rio de Janeiro": (),
    "Saint Petersburg": ("St. Petersburg", "St Petersburg"),
    "Samarkand": ("Samarkhand", "Samarqand"),
    "Sevilla": ("Seville",),
    "Yangon": ("Rangoon",),
}
"""Cities that have several names, and seats of government: nobody's answer here, and no distractor of one."""
NO_CITY = frozenset(
    "bo bimbo buda constantine cork fes golfe kara kaya kennedy kira leon manas marka mary most nice of ponce"
    " pest porto queens reading rosario ruse sale salta salto same split tamale tyre victoria warder wau yei".split()
)
"""Cities whose name is a word of English, Spanish or another name in its normal form."""
CURRENCIES = {
    "Bolivar Soberano": ("Bolivar", "Bolivares"),
    "Boliviano": ("Bolivianos",),
    "Cedi": ("Cedis",),
    "Dinar": ("Dinars",),
    "Dirham": ("Dirhams",),
    "Dollar": ("Dollars",),
    "Euro": ("Euros",),
    "Franc": ("Francs", "CFA"),
    "Koruna": ("Korun",),
    "Krona": ("Kronor",),
    "Krone": ("Kroner",),
    "Leu": ("Lei",),
    "Lev": ("Leva",),
    "Lira": ("Liras", "Lire"),
    "Peso": ("Pesos", "Piso"),
    "Pound": ("Pounds",),
    "Real": ("Reais",),
    "Rial": ("Rials", "Riyal", "Riyals"),
    "Riels": ("Riel",),
    "Ruble": ("Rubles", "Rouble", "Roubles"),
    "Rupee": ("Rupees",),
    "Shilling": ("Shillings", "Schilling"),
    "Sol": ("Nuevo Sol", "Soles"),
    "Yuan Renminbi": ("Yuan", "Renminbi", "RMB"),
    "Zimbabwe Gold": ("ZiG",),
    "Zloty": ("Zlotys",),
}
NO_CODE = frozenset("ALL BAM BOB COP CUP GEL MAD MOP PEN RON SOS TOP TRY".split())
"""Codes of currencies that are words."""
FORMER_CURRENCIES = {
    "Dinar": ("Kuna",),
    "Dollar": ("Sucre",),
    "Euro": ("Deutsche Mark", "Drachma", "Peseta", "Kuna"),
    "Real": ("Cruzeiro", "Cruzado"),
    "Sol": ("Inti",),
}
"""Distractors of a currency: what it replaced."""
CONTINENTS = {
    "AF": ("Africa", ("African",)),
    "AS": ("Asia", ("Asian",)),
    "EU": ("Europe", ("European",)),
    "NA": ("North America", ("Central America", "Caribbean", "North American", "Central American")),
    "SA": ("South America", ("South American",)),
    "OC": ("Oceania", ("Australia", "Oceanian", "Australian")),
}
ELEMENTS = {
    "aluminum": ("aluminium",),
    "cesium": ("caesium",),
    "mercury": ("quicksilver",),
    "potassium": ("kalium",),
    "sodium": ("natrium",),
    "sulfur": ("sulphur",),
    "technetium": ("technetrium",),
    "tungsten": ("wolfram",),
}
