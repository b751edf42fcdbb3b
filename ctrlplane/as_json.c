#include "ctrlplane/as_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "ctrlplane/registry.h"

/* Names of files may be in any bytes; what is no UTF-8 becomes a question mark. NULL: null. */
static json_t *
text_json(const char *text)
{
	if (!text)
		return json_null();
	size_t len = strlen(text);
	if (utf8_valid((const uint8_t *)text, len))
		return json_string(text);
	char *copy = strdup(text);
	if (!copy)
		abort();
	utf8_mend(copy, len);
	json_t *json = json_string(copy);
	free(copy);
	return json;
}

static void
put(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value))
		abort();
}

static json_t *
words_json(const char *words)
{
	json_t *list = json_array();
	while (words && *words) {
		size_t len = strcspn(words, " ");
		json_array_append_new(list, json_stringn(words, len));
		words += len + strspn(words + len, " ");
	}
	return list;
}

void
as_json_message(json_t *messages, const char *agent, const struct config_message *message)
{
	json_t *one = json_object();
	put(one, "agent", text_json(agent));
	put(one, "severity", json_string(message->severity == CONFIG_ERROR ? "error" : "warning"));
	put(one, "origin", text_json(message->origin));
	put(one, "key", text_json(message->key));
	put(one, "text", text_json(message->text));
	json_array_append_new(messages, one);
}

json_t *
as_json_properties(const char *printed)
{
	json_t *all = json_object(), *comments = json_array();
	struct err err;
	bool good = true;
	const char *first = printed + strcspn(printed, "\n");	/* behind the heading */
	for (const char *line = *first ? first + 1 : first, *end; good && *line; line = *end ? end + 1 : end) {
		end = line + strcspn(line, "\n");
		if (end == line) {
			json_array_clear(comments);
		} else if (line[0] == '#') {
			struct text text = { 0 };
			text_add(&text, line + 2, end > line + 2 ? (size_t)(end - line - 2) : 0);
			json_array_append_new(comments, text_json(text.text));
			text_free(&text);
		} else {
			struct properties properties = { 0 };
			good = properties_parse(&properties, "print", line, (size_t)(end - line), &err) == 0 && properties.count == 1;
			if (good) {
				json_t *one = json_object();
				put(one, "value", text_json(properties.lines[0]->raw));
				put(one, "comments", json_copy(comments));
				put(all, properties.lines[0]->key, one);
			}
			properties_free(&properties);
			json_array_clear(comments);
		}
	}
	json_decref(comments);
	if (good)
		return all;
	json_decref(all);
	return NULL;
}

static json_t *
option_json(const struct option *option)
{
	static const char *const types[] = { [OPT_STRING] = "text", [OPT_BOOL] = "bool", [OPT_U32] = "number", [OPT_U64] = "number", [OPT_I64] = "number",
		[OPT_CHOICE] = "choice", [OPT_LIST] = "list", [OPT_FAMILY] = "family" };
	json_t *one = json_object();
	put(one, "name", json_string(option->name));
	put(one, "type", json_string(option->flags & OPTION_DURATION ? "duration" : option->flags & OPTION_SIZE ? "size" : types[option->type]));
	put(one, "default", text_json(option->value));
	put(one, "required", json_boolean(option->flags & OPTION_REQUIRED));
	put(one, "effect", json_string(option->flags & OPTION_REFUSED ? "refused" : option->flags & OPTION_NO_MEANING ? "none" : "full"));
	if (option->min || option->max) {
		put(one, "min", json_integer(option->min));
		put(one, "max", json_integer(option->max));
	}
	if (option->unit)
		put(one, "unit", text_json(option->unit));
	if (option->choices) {
		json_t *choices = json_array();
		for (const char *const *choice = option->choices; *choice; choice++)
			json_array_append_new(choices, text_json(*choice));
		put(one, "choices", choices);
	}
	if (option->old_names)
		put(one, "old_names", words_json(option->old_names));
	put(one, "help", text_json(option->help));
	if (option->note)
		put(one, "note", text_json(option->note));
	return one;
}

json_t *
as_json_kinds(const char *kind, const char *type, struct err *err)
{
	/* The same words are taken and refused as for people. */
	struct text text = { 0 };
	int rc = registry_print(&text, kind, type, err);
	text_free(&text);
	if (rc)
		return NULL;
	json_t *all = json_array();
	for (int of = 0; of < KIND_COUNT; of++) {
		size_t count;
		const struct kind *kinds = registry_kinds((enum kind_of)of, &count);
		if (kind && strcasecmp(kind, kind_word[of]) != 0 && strcasecmp(kind, kind_words[of]) != 0)
			continue;
		const struct kind *only = type ? registry_find((enum kind_of)of, type) : NULL;
		for (size_t i = 0; i < count; i++) {
			if (only && only != &kinds[i])
				continue;
			json_t *one = json_object(), *options = json_array();
			put(one, "kind", json_string(kind_word[of]));
			put(one, "type", text_json(kinds[i].name));
			put(one, "classes", words_json(kinds[i].class_names));
			put(one, "help", text_json(kinds[i].help));
			for (const struct option *option = kinds[i].options; option && option->name; option++)
				json_array_append_new(options, option_json(option));
			put(one, "options", options);
			json_array_append_new(all, one);
		}
	}
	return all;
}
