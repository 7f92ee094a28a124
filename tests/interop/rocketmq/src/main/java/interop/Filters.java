package interop;

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.rocketmq.filter.FilterFactory;
import org.apache.rocketmq.filter.expression.EvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.expression.MQFilterException;

/**
 * Prints what RocketMQ's own filter makes of conditions: the golden file of the broker's.
 *
 * <p>First the messages, one a line: `message` and its properties, with tabs between. Then a condition a line, behind
 * a letter for each message (True, False, Null, Exception), or behind `refused`.
 */
public final class Filters {
    private static final int RANDOM = 700;
    private static final int RANDOM_REFUSED = 100;

    /** Properties of messages, `name=value`. */
    private static final String[][] MESSAGES = {
        {},
        {"a=5", "b=abc", "c=x"},
        {"a=5.0", "b=5", "c=true"},
        {"a=-3", "b=TRUE", "c=false"},
        {"a=true", "b=it's"},
        {"a=3000000000", "b=a", "c=1"},
        {"a=NaN", "b=Infinity", "c=-Infinity"},
        {"a= 7 ", "b=+7", "c=7"},
        {"a=1e3", "b=1000", "c=.5"},
        {"a=abcabc", "b=bc"},
        {"b=5d", "c=6F"},
        {"a=9223372036854775807", "b=2147483648", "c=9223372036854775808"},
        {"a=-0.0", "b=0.0", "c=0"},
        {"a=0x10", "b=1e400", "c=inf"},
        {"a=größe", "b=ö", "c="},
        {"a=1", "b=2", "c=3", "A=4", "$_1=5"},
    };

    /** What the random ones do not reach. */
    private static final List<String> CONDITIONS = List.of(
        // Words in any case, names in theirs.
        "a = 1", "A = 4", "$_1 = 5", "a is null", "a Is noT Null", "a bEtween 1 anD 5", "nOt a = TRUE", "notes IS NULL",
        "a in ('1')", "inn IS NULL", "trUE", "False", "NULL", "a contains 'b'", "a startsWITH 'a'", "a endswith 'c'",
        "a-b = 1", "a.b = 1", "größe = 1", "1a = 1", "_ IS NULL", "$ IS NULL", "\"a\" = 1", "`a` = 1", "[a] = 1",
        // Blanks and comments.
        "", " ", "\t\n\r\fa=5", "a/**/=/***/5", "a = /* 'x' */ 5", "a = 5 /* x **/ AND b = 'abc'", "a = 5 /* x",
        "a = 5 -- five\n AND b = 'abc'", "a = 5 -- five\r AND b = 'abc'", "a = --5", "a = - -5", "-- only\n a = 5",
        "a =5AND b='abc'", "a=5OR b=5", "a>1AND(b)=5", "a = 5 / 1", "a=\u00a05",
        // Strings.
        "b = 'abc'", "b = 'it''s'", "b = ''''", "b = ''", "b = 'abc", "b = 'a'b'", "b = '\n'", "b = \"abc\"", "c = '\\n'",
        "b = 'ö'", "a CONTAINS 'ö'", "a STARTSWITH 'gr'", "a ENDSWITH 'ße'", "'a' = 'a'", "'a' = 'b'", "'a' <> 'b'",
        // Numbers.
        "a = 5L", "a = 5l", "a = 05", "a = 0x10", "a = 5.", "a = .5", "a = 5e0", "a = 5E+0", "a = 50e-1", "c = .5",
        "c = 00.5", "c = 5e-1", "a = 5.0L", "a = 5.0f", "a = 1e", "a = .", "a = 2147483647", "b = 2147483648",
        "b = -2147483648", "a = 9223372036854775807", "a = -9223372036854775807", "a = 9223372036854775808",
        "a = -9223372036854775808", "a < 1.7976931348623157e308", "a < 1e309", "a > 1e-323", "a = 3000000000",
        "a > 3000000000", "a > 2147483647", "a < 3000000000.5", "a > -5", "a > - -5", "a > +5", "a > ++5", "a > -+-5",
        "a = -b", "-a = -5", "-a IS NULL", "-5 = -5.0", "5 = 5.0", "5 < 5.5", "5 >= 5L", "3000000000 > 5", "1 = 2147483648",
        "9007199254740993 = 9007199254740992.0", "0 = -0", "1e0 = 1", "5 > 3", "5 <> 5",
        // Operators that are none.
        "a == 5", "a != 5", "a <> 5", "a < > 5", "a =< 5", "a => 5", "a > = 5", "a >= 5", "! a", "a && b", "a || b", "a; b",
        "a = ?", "a = :x", "NOT", "AND", "a AND", "a OR", "OR a", "a NOT", "a NOT = 5", "a NOT NULL", "a IS", "a IS 5",
        "a IS TRUE", "a IS NOT", "a BETWEEN", "a BETWEEN 1", "a BETWEEN 1 AND", "a BETWEEN 1 OR 2", "(", ")", "()", "(a",
        "a = (5)", "(a) = 5", "((a = 5))", "(a = 5", "a IN", "a IN ()", "a IN ('5'", "a IN ('5',)", "a IN (5)",
        "a IN ('5' 'x')", "a IN '5'", "a IN (b)", "a IN (NULL)", "a CONTAINS", "a CONTAINS 5", "a CONTAINS b", "= 5",
        // Tight and loose.
        "a = 5 OR b = 'bc' AND c = 'x'", "(a = 5 OR b = 'bc') AND c = 'x'", "NOT a = 5", "NOT (a = 5)", "NOT a > 5",
        "NOT a IS NULL", "NOT (a IS NULL)", "NOT NOT a", "NOT a", "NOT a AND b", "NOT TRUE OR TRUE", "NOT NULL",
        "a = 5 = TRUE", "TRUE = (a = 5)", "a = 5 = b", "b = (a = 5)", "a = b = c", "a > 1 = TRUE", "a = 1 > 0", "a > 1 > 0",
        "a > 1 IS NULL", "a = 5 IS NULL", "a IS NULL IS NULL", "a IS NULL = TRUE", "(a = 5) = 5", "(a = 5) <> 5",
        "5 = (a = 5)", "a BETWEEN 1 AND 9 AND b = 'abc'", "a BETWEEN 1 AND 9 = TRUE", "a IN ('5') = TRUE",
        "a CONTAINS 'b' CONTAINS 'c'", "a CONTAINS 'b' = TRUE", "a NOT CONTAINS 'b' IS NULL", "NOT a CONTAINS 'b'",
        "(a IS NULL CONTAINS 'x')", "(a = 5 IS NULL > 5)",
        // Conditions and what is none.
        "a", "5", "'x'", "-5", "-a", "5 AND a = 5", "a = 5 AND 'x'", "NOT 5", "NOT 'x'", "NOT -a", "a AND b", "a OR b",
        "a OR TRUE", "a AND TRUE", "NULL OR a IS NULL", "NULL AND FALSE", "TRUE AND NULL", "FALSE OR NULL", "NOT (NULL)",
        // Equal.
        "a = b", "a <> b", "x = y", "x <> y", "x = 'x'", "x <> 'x'", "'x' = x", "'x' <> x", "5 = x", "5 <> x", "a = x",
        "x = a", "x <> a", "a <> x", "a = TRUE", "TRUE = a", "a <> FALSE", "c = FALSE", "TRUE = TRUE", "TRUE = FALSE",
        "TRUE = 1", "1 = TRUE", "TRUE = 'true'", "'true' = TRUE", "'x' = FALSE", "TRUE = -1", "a = NULL", "NULL = a",
        "a <> NULL", "NULL = NULL", "NULL IS NULL", "NULL IS NOT NULL", "5 IS NULL", "'x' IS NOT NULL", "TRUE IS NULL",
        "a = 'x' OR a = 5 OR b = 'bc'", "a = 5 OR b = 'abc'", "b = 'abc' OR a = 'x'", "b = 'a' OR a = 5", "a = 5 AND b = 5",
        "5 = a", "5.0 = a", "a = 5.0", "-5 = a", "(a = 5) = (b = 5)", "(a = 5) <> (b = 5)", "TRUE <> (a IS NULL)",
        // Greater and less.
        "a > 4", "a >= 5", "a < 6", "a <= 5", "5 > a", "5 <= a", "a > b", "a >= b", "a < b", "a <= b", "a > x", "x > a",
        "x > 5", "5 > x", "a > '5'", "'5' > a", "a > TRUE", "TRUE > a", "a > NULL", "NULL > a", "a > (b = 5)",
        "(b = 5) > a", "a > -'x'", "a > -(b = 5)", "-(b = 5) IS NULL", "-TRUE IS NULL", "a > -x", "a > 0.5", "c > b", "a > a",
        // Between.
        "a BETWEEN 1 AND 9", "a NOT BETWEEN 1 AND 9", "a BETWEEN 1 AND 9.5", "a BETWEEN 9 AND 1", "a BETWEEN 9 AND 1.5",
        "a NOT BETWEEN 9 AND 1", "a BETWEEN 5 AND 5", "a BETWEEN -5 AND 5", "a BETWEEN 5 AND -5", "a BETWEEN b AND c",
        "a BETWEEN b AND 9", "a BETWEEN 1 AND c", "a NOT BETWEEN b AND c", "x BETWEEN 1 AND 2", "x NOT BETWEEN 1 AND 2",
        "5 BETWEEN a AND b", "5 BETWEEN 1 AND 9", "a BETWEEN 'a' AND 'b'", "a BETWEEN NULL AND 5", "a BETWEEN 1 AND NULL",
        "a BETWEEN TRUE AND 5", "a BETWEEN 1 AND 'x'", "a BETWEEN '1' AND 5", "TRUE BETWEEN 1 AND 2", "'5' BETWEEN 1 AND 9",
        "a BETWEEN (1) AND (9)", "a BETWEEN (b = 1) AND 5", "a BETWEEN 6 AND b", "a NOT BETWEEN 1 AND x",
        // In.
        "a IN ('5')", "a NOT IN ('5')", "b IN ('abc', 'bc', 'a', '5', '2', 'it''s')", "b NOT IN ('abc', 'bc', 'a', '5', '2')",
        "x IN ('5')", "x NOT IN ('5')", "(a) IN ('5')", "+a IN ('5')", "-a IN ('5')", "'5' IN ('5')", "5 IN ('5')",
        "TRUE IN ('5')", "NOT a IN ('5')", "NOT (a IN ('5'))", "(a = 5) IN ('5')", "c IN ('')", "a IN ('5', '5')",
        // Contains and its kin.
        "a CONTAINS 'bca'", "a NOT CONTAINS 'bca'", "a STARTSWITH 'abc'", "a NOT STARTSWITH 'abc'", "a ENDSWITH 'abc'",
        "a NOT ENDSWITH 'abc'", "a CONTAINS ''", "a NOT CONTAINS ''", "a STARTSWITH ''", "a NOT STARTSWITH ''",
        "a ENDSWITH ''", "a NOT ENDSWITH ''", "x CONTAINS 'a'", "x NOT CONTAINS 'a'", "NOT (x CONTAINS 'a')",
        "'abc' CONTAINS 'b'", "'abc' NOT STARTSWITH 'b'", "5 CONTAINS '5'", "5 NOT CONTAINS '5'", "TRUE CONTAINS 'T'",
        "(a = 5) CONTAINS 'x'", "(a = 5) CONTAINS ''", "-a CONTAINS 'x'", "a CONTAINS '''s'", "b CONTAINS '''s'",
        "c NOT CONTAINS 'x'", "c STARTSWITH 'x'",
        // Behind the end.
        "a = 5 b", "a = 5)", "a = 5 -- five", "a = 5 + 1", "a = 5 6", "a LIKE 'x'", "a = 5, b = 5", "a = 0L", "a = 0.0",
        "a = 1e-400", "a = 5 --", "a = 5 -"
    );

    private record Message(Map<String, String> properties) implements EvaluationContext {
        @Override
        public Object get(String name) {
            return properties.get(name);
        }

        @Override
        public Map<String, Object> keyValues() {
            return new LinkedHashMap<>(properties);
        }
    }

    /** Conditions after the grammar, without parentheses where precedence will do; types fit now and then. */
    private static final class Grammar {
        private static final String[] PROPERTIES = {"a", "b", "c", "x"};
        private static final String[] STRINGS = {"'abc'", "'bc'", "'5'", "''", "'true'", "'it''s'", "'a'", "'x'"};
        private static final String[] NUMBERS = {"5", "0", "7", "1", "5.0", "1e3", "3000000000", "2147483648L", ".5", "1000"};
        private static final String[] CONSTANTS = {"TRUE", "FALSE", "NULL"};
        private static final String[] ORDERS = {">", ">=", "<", "<="};
        private static final String[] SEARCHES = {"CONTAINS", "STARTSWITH", "ENDSWITH"};

        private final Random random = new Random(92);

        private boolean oneIn(int count) {
            return random.nextInt(count) == 0;
        }

        private String any(String[] choices) {
            return choices[random.nextInt(choices.length)];
        }

        private String not() {
            return oneIn(3) ? "NOT " : "";
        }

        String condition(int depth) {
            StringBuilder text = new StringBuilder(conjunction(depth));
            while (oneIn(3)) {
                text.append(" OR ").append(conjunction(depth));
            }
            return text.toString();
        }

        private String conjunction(int depth) {
            StringBuilder text = new StringBuilder(equality(depth));
            while (oneIn(3)) {
                text.append(" AND ").append(equality(depth));
            }
            return text.toString();
        }

        private String equality(int depth) {
            String left = comparison(depth);
            while (oneIn(3)) {
                left += switch (random.nextInt(3)) {
                    case 0 -> " = " + comparison(depth);
                    case 1 -> " <> " + comparison(depth);
                    default -> " IS " + not() + "NULL";
                };
            }
            return left;
        }

        private String comparison(int depth) {
            if (oneIn(5)) {
                return unary(depth);
            }
            String left = oneIn(4) ? unary(depth) : any(PROPERTIES);
            return left + switch (random.nextInt(6)) {
                case 0 -> " " + not() + "BETWEEN " + bound(depth) + " AND " + bound(depth);
                case 1 -> " " + not() + "IN (" + any(STRINGS) + ", " + any(STRINGS) + ")";
                case 2 -> " " + not() + any(SEARCHES) + " " + any(STRINGS);
                default -> " " + any(ORDERS) + " " + bound(depth);
            };
        }

        private String bound(int depth) {
            return switch (random.nextInt(8)) {
                case 0 -> unary(depth);
                case 1, 2 -> any(PROPERTIES);
                default -> any(NUMBERS);
            };
        }

        private String unary(int depth) {
            return switch (random.nextInt(12)) {
                case 0 -> "NOT " + unary(depth);
                case 1 -> "-" + unary(depth).replaceFirst("^-", "+-");
                case 2 -> "+" + unary(depth);
                case 3, 4, 5 -> depth == 0 ? any(PROPERTIES) : "(" + condition(depth - 1) + ")";
                case 6 -> any(STRINGS);
                case 7 -> any(NUMBERS);
                case 8 -> any(CONSTANTS);
                default -> any(PROPERTIES);
            };
        }
    }

    private static String escaped(String text) {
        return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r").replace("\f", "\\f");
    }

    private static Message message(String[] properties) {
        Map<String, String> map = new LinkedHashMap<>();
        for (String property : properties) {
            int equals = property.indexOf('=');
            map.put(property.substring(0, equals), property.substring(equals + 1));
        }
        return new Message(map);
    }

    private static char evaluate(Expression condition, Message message) {
        try {
            Object value = condition.evaluate(message);
            return value == null ? 'N' : (Boolean) value ? 'T' : 'F';
        } catch (Exception e) {
            return 'E';
        }
    }

    /** A condition's line. */
    private static String line(String condition) {
        String values;
        try {
            Expression compiled = FilterFactory.INSTANCE.get("SQL92").compile(condition);
            StringBuilder letters = new StringBuilder();
            Arrays.stream(MESSAGES).forEach(message -> letters.append(evaluate(compiled, message(message))));
            values = letters.toString();
        } catch (MQFilterException e) {
            values = "refused";
        }
        return values + "\t" + escaped(condition);
    }

    public static void main(String[] args) {
        StringBuilder out = new StringBuilder();
        for (String[] message : MESSAGES) {
            out.append("message");
            Arrays.stream(message).forEach(property -> out.append('\t').append(escaped(property)));
            out.append('\n');
        }
        CONDITIONS.forEach(condition -> out.append(line(condition)).append('\n'));
        Grammar grammar = new Grammar();
        int refused = 0;
        for (int taken = 0; taken < RANDOM; ) {
            String line = line(grammar.condition(2));
            if (line.length() > 200 || line.startsWith("refused") && ++refused > RANDOM_REFUSED) {
                continue;
            }
            out.append(line).append('\n');
            taken++;
        }
        new PrintStream(System.out, true, StandardCharsets.UTF_8).print(out);
    }
}
