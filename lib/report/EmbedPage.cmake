# Writes page.html to OUT as a C++ string literal, with each line `@NAME@` replaced by the
# file PAGE/NAME; `@DATA@` stays for the report to fill in.
file(READ ${PAGE}/page.html html)
string(REGEX MATCHALL "@[a-z-]+[.](css|js)@" names "${html}")
foreach(name ${names})
  string(REPLACE "@" "" file ${name})
  file(READ ${PAGE}/${file} text)
  string(REPLACE "${name}" "${text}" html "${html}")
endforeach()
file(WRITE ${OUT} "R\"__page(${html})__page\"\n")
