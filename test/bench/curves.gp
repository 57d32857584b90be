# What "make bench" measured, as a picture: run by test/bench/run where curves.tsv lies.
set terminal svg size 900, 960 background rgb 'white' font 'sans-serif,12'
set output 'curves.svg'
set datafile separator '\t'
set multiplot layout 3, 2
set grid lc rgb '#dddddd'
set key top left reverse Left samplen 2
set logscale xy
set format x '%.0s%c'
set ylabel 'plain SQL at the left = 1'
set style data linespoints
set pointsize 0.6
points(axis, way) = sprintf("< awk -F '\\t' '$1 == \"growth\" && $2 == \"%s\" && $4 == \"%s\"' curves.tsv", axis, way)
page(what) = sprintf("< awk -F '\\t' '$1 == \"paging\" && $2 == \"%s\"' curves.tsv", what)
ways = "'plain' 'by hand' 'pull_changes'"
color(i) = word("'#999999' '#d95f02' '#1b5e9e'", i)
if (system("grep -c ^growth curves.tsv") + 0 > 0) {
	do for [axis in "rows delta users"] {
		set title axis eq 'rows' ? "rows of the table (10 changed rows are mine)" : axis eq 'delta' ? "changed rows that are mine" : "users of the table"
		set yrange [0.3:*]
		plot for [i = 1:3] points(axis, word(ways, i)) using 3:5 title (i == 1 ? 'plain SQL by index' : i == 2 ? 'plpgsql by hand' : 'pull\_changes') lc rgb color(i) pt 7 lw 2
	}
}
if (system("grep -c ^pull curves.tsv") + 0 > 0) {
	set title "rows of a first sync"
	set ylabel 'json\_agg as one value = 1'
	set yrange [0.05:100]
	first(way) = sprintf("< awk -F '\\t' '$1 == \"pull\" && $4 == \"%s\"' curves.tsv", way)
	plot first('json_agg as one value') using 3:5 title 'json\_agg' lc rgb color(1) pt 7 lw 2, \
		first('plpgsql by hand, as one value') using 3:5 title 'plpgsql by hand' lc rgb color(2) pt 7 lw 2, \
		first('COPY, binary') using 3:5 title 'COPY, binary' lc rgb '#7a4fa3' pt 7 lw 2, \
		first('pull_changes as one value') using 3:5 title 'pull\_changes' lc rgb color(3) pt 7 lw 2, \
		first('pull_stream by COPY, binary') using 3:5 title 'pull\_stream' lc rgb '#3a923a' pt 7 lw 2
}
if (system("grep -c ^push curves.tsv") + 0 > 0) {
	set title "records of a push"
	set ylabel 'typed upsert of many, a record = 1'
	set yrange [0.5:*]
	size(way) = sprintf("< awk -F '\\t' '$1 == \"push\" && $2 == \"records\" && $4 == \"%s\"' curves.tsv", way)
	plot size('typed') using 3:5 title 'typed upsert' lc rgb color(1) pt 7 lw 2, \
		size('push') using 3:5 title 'push\_changes' lc rgb color(3) pt 7 lw 2
}
unset logscale
set format x '%g'
set ylabel 'json\_agg of as many rows = 1'
set yrange [0:*]
set key top right
set title "pages of a pull, while others write"
if (system("grep -c ^paging curves.tsv") + 0 > 0) plot page('all') using 3:5 title 'all rows' lc rgb '#1b5e9e' pt 7 ps 0.3, \
	page('half') using 3:5 title 'half of them mine' lc rgb '#d95f02' pt 7 ps 0.3, \
	page('changed') using 3:5 title 'a fifth changed' lc rgb '#3a923a' pt 7 ps 0.3, \
	page('deleted') using 3:5 title 'a tenth deleted: ids' lc rgb '#7a4fa3' pt 7 ps 0.3
unset multiplot
