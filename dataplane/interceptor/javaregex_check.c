/* What neither engine does as Java does, beyond what the parser refuses itself: Java's captures of ways that failed, and \R in loops. */
#include "dataplane/interceptor/javaregex_ast.h"

static bool
encloses(const struct node *node, const struct node *inner)
{
	if (node == inner)
		return true;
	for (uint32_t i = 0; i < node->kid_count; i++)
		if (encloses(node->kids[i], inner))
			return true;
	return false;
}

/* Does a branch of an alternation hold the group, but not the reference? Then the reference may be reached with the group unset. */
static bool
is_parted(struct node *const *nodes, uint32_t count, const struct node *group, const struct node *reference)
{
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t k = 0; nodes[i]->kind == NODE_ALT && k < nodes[i]->kid_count; k++)
			if (encloses(nodes[i]->kids[k], group) && !encloses(nodes[i]->kids[k], reference))
				return true;
	return false;
}

/* May Java leave in the group what it saw on a way that failed? `around`: any node that encloses it. */
static bool
is_stale(struct node *const *nodes, uint32_t count, const struct node *around, const struct node *group, const struct node *reference)
{
	bool possessive = around->kind == NODE_REPEAT && around->how == REPEAT_POSSESSIVE;
	if (around->kind == NODE_REPEAT && (around->kids[0] != group || (possessive && !around->min)))
		return true;
	if (around->kind == NODE_LOOK && around->negative)
		return true;
	return (possessive || around->kind == NODE_LOOK || around->kind == NODE_ATOMIC) && is_parted(nodes, count, group, reference);
}

/* Back references whose group lies where Java leaves stale captures, within a part that the reference stands outside of; a
 * reference within its own group; \R within a repeated group (Java gives its \r\n up in some loops only). */
const struct node *
javaregex_check(struct node *const *nodes, uint32_t count, uint32_t groups, const char **words)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct node *node = nodes[i];
		*words = "\\R within a repeated group is not supported";
		if (node->kind == NODE_REPEAT && node->kids[0]->kind != NODE_BREAK)
			for (uint32_t j = 0; j < count; j++)
				if (nodes[j]->kind == NODE_BREAK && encloses(node, nodes[j]))
					return nodes[j];
		if (node->kind != NODE_BACKREF || node->number > groups)
			continue;
		const struct node *group = NULL;
		for (uint32_t j = 0; j < count && !group; j++)
			if (nodes[j]->kind == NODE_GROUP && nodes[j]->number == node->number)
				group = nodes[j];
		*words = "a back reference within its own group is not supported";
		if (encloses(group, node))
			return node;
		*words = "a back reference to a group within a repeated part or a look-around is not supported here: "
			 "Java may see what the group held on a way that failed";
		for (uint32_t j = 0; j < count; j++)
			if (encloses(nodes[j], group) && !encloses(nodes[j], node) && is_stale(nodes, count, nodes[j], group, node))
				return node;
	}
	return NULL;
}
