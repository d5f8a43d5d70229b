export function parse(text: string): any;
export function stringify(value: any): string;
